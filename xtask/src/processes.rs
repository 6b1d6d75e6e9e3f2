//! Child processes. None outlives this process.
//!
//! Every child leads a process group, so that the processes that it starts (wrangler starts node, node
//! starts workerd) end with it. Dropping a [`ProcessGroup`] ends the group: after success, after an
//! error, and when a signal drops the running command.

use std::{
    fmt,
    io::BufRead,
    path::Path,
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal as UnixSignal, kill_process_group, test_kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    error::{Error, Result},
    progress::Activity,
};

/// How long a process group may take to end after SIGTERM, before it is killed.
const GRACE_PERIOD: Duration = Duration::from_secs(5);

/// How often to check whether a process group has ended.
const POLL: Duration = Duration::from_millis(20);

/// A child process with the processes that it started.
#[derive(Debug)]
pub struct ProcessGroup {
    child: Child,
    leader: Option<Pid>,
    program: String,
}

impl ProcessGroup {
    /// Starts `command` as the leader of a new process group, with no standard input.
    pub fn start(command: &mut Command) -> Result<Self> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Start { program: program.clone(), source })?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, leader, program })
    }

    /// Waits until the leader ends by itself.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child
            .wait()
            .await
            .map_err(|source| Error::Start { program: self.program.clone(), source })
    }

    /// Ends the whole group: sends SIGTERM, and kills what is left after [`GRACE_PERIOD`].
    pub fn stop(&mut self) {
        let Some(group) = self.leader.take() else {
            return;
        };
        for signal in [UnixSignal::TERM, UnixSignal::KILL] {
            // An error means that no process is left to receive the signal.
            if kill_process_group(group, signal).is_err() {
                return;
            }
            let deadline = Instant::now() + GRACE_PERIOD;
            while Instant::now() < deadline {
                // A leader that has ended exists until its status is collected.
                let _ = self.child.try_wait();
                if test_kill_process_group(group).is_err() {
                    return;
                }
                thread::sleep(POLL);
            }
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs `command` to its end, with this process's output as its output.
pub async fn run(doing: &str, command: &mut Command) -> Result<()> {
    let status = ProcessGroup::start(command)?.wait().await?;
    succeeded(doing, status)
}

/// Runs `command` to its end, passing its output through, and each line of it to `read`.
///
/// Standard output and standard error share one pipe, so that their lines stay in order.
pub async fn run_and_read(
    doing: &str,
    mut command: Command,
    mut read: impl FnMut(&str),
) -> Result<()> {
    let unavailable =
        |error: std::io::Error| Error::System { what: "a pipe", reason: error.to_string() };
    let (output, input) = std::io::pipe().map_err(unavailable)?;
    command.stdout(input.try_clone().map_err(unavailable)?).stderr(input);
    let mut group = ProcessGroup::start(&mut command)?;
    // The pipe ends when no process can write to it, so this one's ends have to be closed.
    drop(command);
    let (sender, mut lines) = mpsc::unbounded_channel();
    thread::spawn(move || send_lines(output, &sender));

    let mut show = |line: String| {
        eprintln!("{line}");
        read(&line);
    };
    let status = loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => show(line),
            status = group.wait() => break status?,
        }
    };
    // Processes that the leader left running would keep the pipe open.
    group.stop();
    while let Some(line) = lines.recv().await {
        show(line);
    }
    succeeded(doing, status)
}

fn send_lines(output: impl std::io::Read, sender: &mpsc::UnboundedSender<String>) {
    let mut reader = std::io::BufReader::new(output);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if sender.send(text).is_err() {
            return;
        }
        line.clear();
    }
}

/// Runs `command` to its end, showing only its latest line beside `activity`. If it fails, all of
/// its output is shown.
pub async fn run_quietly(doing: &str, command: &mut Command, activity: &Activity) -> Result<()> {
    let mut group = ProcessGroup::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (sender, mut lines) = mpsc::unbounded_channel();
    if let Some(output) = group.child.stdout.take() {
        tokio::spawn(forward_lines(output, sender.clone()));
    }
    if let Some(output) = group.child.stderr.take() {
        tokio::spawn(forward_lines(output, sender.clone()));
    }
    drop(sender);

    let mut output = Vec::new();
    while let Some(line) = lines.recv().await {
        activity.note(&line);
        output.push(line);
    }
    let status = group.wait().await?;
    if !status.success() {
        activity.print(&output.join("\n"));
    }
    succeeded(doing, status)
}

/// The standard output of `command`; `None` if it cannot be started or fails. For questions such as
/// which version is installed, if any.
pub async fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    output.status.success().then(|| String::from_utf8_lossy(&text).trim().to_owned())
}

/// The last `count` lines of a log, for people to read.
pub fn tail(log: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn succeeded(doing: &str, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { doing: doing.to_owned(), status })
}

async fn forward_lines(output: impl AsyncRead + Unpin, sender: mpsc::UnboundedSender<String>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    // Bytes, not strings: a compiler may print part of a file that is not UTF-8.
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if sender.send(text).is_err() {
            return;
        }
        line.clear();
    }
}

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// `kill`, or the shutdown of the system.
    Terminate,
    /// The terminal was closed.
    HangUp,
}

impl Signal {
    /// Its number in the system.
    pub fn number(self) -> u8 {
        match self {
            Self::HangUp => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "a request to terminate",
            Self::HangUp => "the closing of its terminal",
        })
    }
}

/// Receives requests to stop, from its creation on.
#[derive(Debug)]
pub struct Signals {
    received: mpsc::UnboundedReceiver<Signal>,
}

impl Signals {
    /// Takes over the handling of SIGINT, SIGTERM and SIGHUP.
    pub fn listen() -> Result<Self> {
        let (sender, received) = mpsc::unbounded_channel();
        for (kind, meaning) in [
            (SignalKind::interrupt(), Signal::Interrupt),
            (SignalKind::terminate(), Signal::Terminate),
            (SignalKind::hangup(), Signal::HangUp),
        ] {
            let mut stream = signal(kind).map_err(|error| Error::System {
                what: "a signal handler",
                reason: error.to_string(),
            })?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() && sender.send(meaning).is_ok() {}
            });
        }
        Ok(Self { received })
    }

    /// The next request to stop.
    pub async fn next(&mut self) -> Signal {
        // The senders live as long as the runtime, so there is always another one to wait for.
        match self.received.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    /// Does `work`. On a request to stop it drops `work`, and with it every process that it started.
    pub async fn interrupt<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = work => result,
            signal = self.next() => Err(Error::Interrupted(signal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_group_ends_with_the_processes_that_its_leader_started() {
        let mut group = ProcessGroup::start(&mut shell("sleep 60 & sleep 60")).unwrap();
        let leader = group.leader.unwrap();
        assert!(test_kill_process_group(leader).is_ok());
        group.stop();
        assert!(test_kill_process_group(leader).is_err());
    }

    #[tokio::test]
    async fn processes_that_a_finished_leader_left_are_ended() {
        let mut group =
            ProcessGroup::start(shell("sleep 60 & exit 0").stdout(Stdio::null())).unwrap();
        let leader = group.leader.unwrap();
        assert!(group.wait().await.unwrap().success());
        drop(group);
        assert!(test_kill_process_group(leader).is_err());
    }

    #[tokio::test]
    async fn a_failure_names_what_was_being_done() {
        let error = run("counting", &mut shell("exit 3")).await.unwrap_err();
        assert_eq!(error.to_string(), "counting failed (exit status: 3); its output is above");
    }

    #[tokio::test]
    async fn lines_are_read_in_order_and_processes_left_behind_do_not_delay_the_end() {
        let script = "echo one; echo two >&2; echo three; sleep 60 & exit 3";
        let mut lines = Vec::new();
        let result =
            run_and_read("counting", shell(script), |line| lines.push(line.to_owned())).await;
        assert!(result.is_err());
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn a_missing_program_has_no_output() {
        assert_eq!(ask(&mut Command::new("no-such-program")).await, None);
    }
}
