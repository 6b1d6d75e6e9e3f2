//! The errors of the commands. Each message says what was being done and how to fix the problem, and is
//! printed as it is, without a backtrace or a chain of causes.

use std::path::{Path, PathBuf};

use crate::processes::Signal;

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be used.
    #[error("could not {doing} `{}`: {source}", path.display())]
    File {
        /// What was being done, as a verb with what it applies to: "read", "create the folder".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },

    /// A program could not be started.
    #[error("could not start `{program}`: {source}. Is it installed and on the PATH?")]
    Start {
        /// The program.
        program: String,
        /// The reason.
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

    /// A tool or a package is missing and this command cannot install it.
    #[error("{what} is missing. {advice}")]
    Missing {
        /// What is missing.
        what: String,
        /// How to install it.
        advice: String,
    },

    /// `Cargo.lock` does not name the version of a crate.
    #[error("Cargo.lock {problem}. Run `cargo generate-lockfile` in the root of the checkout")]
    Lock {
        /// What is wrong with it.
        problem: String,
    },

    /// Another program listens on the port.
    #[error(
        "port {port} is already in use. Stop the program that listens there, or choose another port with --port"
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

    /// The options differ from the stored sample.
    #[error(
        "the stored sample platform has {stored}; the options ask for {asked}. Remove those options to \
         use the stored one, or add --fresh to delete it and generate another"
    )]
    OtherSample {
        /// What is stored.
        stored: String,
        /// What the options ask for.
        asked: String,
    },

    /// The embedded DynamoDB failed.
    #[error(
        "the embedded DynamoDB could not {doing}: {reason}. If the error remains, start with new data: `cargo xtask dev --fresh`"
    )]
    Embedded {
        /// What was being done.
        doing: &'static str,
        /// The reason.
        reason: String,
    },

    /// The sample history could not be generated.
    #[error(
        "the sample history could not be generated: {problem}. Run the command again; it starts from \
         the beginning"
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

    /// A server that this command started did not answer, or ended.
    #[error("{server} {problem}")]
    Server {
        /// Its name.
        server: &'static str,
        /// What happened, and where to look.
        problem: String,
    },

    /// The Worker answered with an error.
    #[error("the Worker could not {doing} (HTTP {status}): {message}")]
    Worker {
        /// What it should do.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
        /// Its message.
        message: String,
    },

    /// The operating system gave no random bytes, sockets or signal handlers.
    #[error("the system did not provide {what}: {reason}")]
    System {
        /// What is needed.
        what: &'static str,
        /// The reason.
        reason: String,
    },

    /// The package is larger than the budget.
    #[error(
        "the gzipped WebAssembly is {actual} bytes, {} over the budget of {budget}. See what grew \
         (`cargo tree -e normal --target wasm32-unknown-unknown`), or raise SIZE_BUDGET in \
         xtask/src/ci.rs and say why there", actual - budget
    )]
    TooLarge {
        /// Bytes measured.
        actual: u64,
        /// Bytes allowed.
        budget: u64,
    },

    /// The user or the system stopped the command.
    #[error("stopped by {0}; every process that this command started has ended")]
    Interrupted(Signal),
}

impl Error {
    /// Wraps an I/O error on `path`; meant for `map_err`.
    pub fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            // As shells do: 128 plus the signal's number.
            Self::Interrupted(signal) => 128 + signal.number(),
            _ => 1,
        }
    }
}

/// The result of a command.
pub type Result<T> = std::result::Result<T, Error>;
