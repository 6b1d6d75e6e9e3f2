//! Progress of long activities. In a terminal it is one line that is updated; elsewhere, such as in CI,
//! plain lines: one at the start, one every half minute, one at the end.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

/// How often a plain line reports progress.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Something that takes long enough to report progress.
#[derive(Debug)]
pub struct Activity {
    what: String,
    started: Instant,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Terminal(ProgressBar),
    Plain { latest: Arc<Mutex<String>>, heartbeat: JoinHandle<()> },
}

impl Activity {
    /// Begins `what`; `expectation` says how long that usually takes.
    pub fn start(what: &str, expectation: &str) -> Self {
        let started = Instant::now();
        let display = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner().with_style(
                ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_prefix(format!("{what} ({expectation})"));
            bar.enable_steady_tick(Duration::from_millis(120));
            Display::Terminal(bar)
        } else {
            eprintln!("{what} ({expectation}) ...");
            let latest = Arc::default();
            Display::Plain {
                heartbeat: tokio::spawn(beat(what.to_owned(), started, Arc::clone(&latest))),
                latest,
            }
        };
        Self { what: what.to_owned(), started, display }
    }

    /// Shows the progress.
    pub fn note(&self, progress: &str) {
        match &self.display {
            Display::Terminal(bar) => bar.set_message(progress.to_owned()),
            Display::Plain { latest, .. } => {
                progress.clone_into(&mut latest.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Prints lines above the progress.
    pub fn print(&self, lines: &str) {
        match &self.display {
            Display::Terminal(bar) => bar.suspend(|| eprintln!("{lines}")),
            Display::Plain { .. } => eprintln!("{lines}"),
        }
    }

    /// Ends the activity successfully, with `outcome`.
    pub fn finish(self, outcome: &str) {
        let line = format!("{}: {outcome}, {}", self.what, elapsed(self.started.elapsed()));
        // Remove the line that is updated, so that this one takes its place.
        drop(self);
        eprintln!("{line}");
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        match &self.display {
            Display::Terminal(bar) => bar.finish_and_clear(),
            Display::Plain { heartbeat, .. } => heartbeat.abort(),
        }
    }
}

async fn beat(what: String, started: Instant, latest: Arc<Mutex<String>>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("{what}: {} so far. {latest}", elapsed(started.elapsed()));
    }
}

/// A duration for people: `8 s`, `2 min 5 s`.
pub fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, 0) => format!("{} ms", duration.as_millis()),
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_that_people_read() {
        assert_eq!(elapsed(Duration::from_millis(180)), "180 ms");
        assert_eq!(elapsed(Duration::from_secs(59)), "59 s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 min 5 s");
    }
}
