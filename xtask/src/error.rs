//! What can go wrong in a command, said so that the reader knows what was being done and what to
//! do about it. Printed as it is: no backtrace, no chain of causes to put together.

use std::path::{Path, PathBuf};

use crate::processes::Signal;

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be used.
    #[error("could not {doing} `{}`: {source}", path.display())]
    File {
        /// What was being done, as a verb with what it applies to: "read", "make the folder".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// A program did not even start.
    #[error("could not start `{program}`: {source}. Is it installed and on the PATH?")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },

    /// A program ran and failed; its output has been shown.
    #[error("{doing} failed ({status}); its output is above")]
    Failed {
        /// What was being done.
        doing: String,
        /// How the program ended.
        status: std::process::ExitStatus,
    },

    /// A tool or a package is missing and this command cannot get it.
    #[error("{what} is missing. {advice}")]
    Missing {
        /// What is missing.
        what: String,
        /// The one thing to do.
        advice: String,
    },

    /// `Cargo.lock` does not say which version of a crate is used.
    #[error("Cargo.lock {problem}. Run `cargo generate-lockfile` in the project's root")]
    Lock {
        /// What is wrong with it.
        problem: String,
    },

    /// Something already listens on the port that was asked for.
    #[error(
        "port {port} is already in use. Stop what listens there, or choose another port with --port"
    )]
    PortInUse {
        /// The port.
        port: u16,
    },

    /// Another `cargo xtask dev` uses the same folder.
    #[error(
        "another `cargo xtask dev` is running in this checkout. Stop it first, with Ctrl-C in its terminal"
    )]
    AlreadyRunning,

    /// The stored sample is not the one that was asked for.
    #[error(
        "the stored sample has {stored}, and {asked} was asked for. Leave those options out to use \
         what is stored, or add --fresh to delete it and start over"
    )]
    OtherSample {
        /// The shape that is stored.
        stored: String,
        /// The shape that was asked for.
        asked: String,
    },

    /// The embedded DynamoDB refused something.
    #[error(
        "the embedded DynamoDB could not {doing}: {reason}. If it stays so, start over with `cargo xtask dev --fresh`"
    )]
    Embedded {
        /// What was being done.
        doing: &'static str,
        /// What it answered.
        reason: String,
    },

    /// The sample's past could not be made.
    #[error(
        "the sample's past could not be made: {problem}. Run the command again: it starts over"
    )]
    History {
        /// What went wrong.
        problem: String,
    },

    /// The DynamoDB of `--endpoint` cannot be used.
    #[error("{endpoint}: {problem}")]
    Endpoint {
        /// Its address.
        endpoint: String,
        /// What is wrong and what to do.
        problem: String,
    },

    /// An environment variable is missing or cannot be used.
    #[error("the environment variable {name} {problem}")]
    Variable {
        /// Its name; never its value.
        name: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },

    /// A server that this command started did not come up, or ended by itself.
    #[error("{server} {problem}")]
    Server {
        /// Which one.
        server: &'static str,
        /// What happened, and where to look.
        problem: String,
    },

    /// The Worker answered, but not as it should.
    #[error("the Worker answered {status} when asked to {doing}: {message}")]
    Worker {
        /// What was asked of it.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
        /// Its own words.
        message: String,
    },

    /// The operating system gave no random bytes, sockets or signal handlers.
    #[error("the system did not provide {what}: {reason}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why it was refused.
        reason: String,
    },

    /// The package is larger than the budget.
    #[error(
        "the gzipped WebAssembly is {actual} bytes, {} over the budget of {budget}. See what grew \
         (`cargo tree -e normal --target wasm32-unknown-unknown`), or raise the budget with its \
         reason in xtask/src/ci.rs", actual - budget
    )]
    TooLarge {
        /// Bytes measured.
        actual: u64,
        /// Bytes allowed.
        budget: u64,
    },

    /// The user, or the system, asked us to stop.
    #[error("stopped by {0}; everything that was started has been stopped")]
    Interrupted(Signal),
}

impl Error {
    /// Wraps an I/O error on `path`; meant for `map_err`.
    pub fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }

    /// The exit code that tells a shell how the command ended.
    pub fn exit_code(&self) -> u8 {
        match self {
            // The shell's own convention: 128 plus the signal's number.
            Self::Interrupted(signal) => 128 + signal.number(),
            _ => 1,
        }
    }
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;
