//! The queue of recalculations as tests drive it: messages are kept until they are delivered, one at
//! a time, without waiting for their delay, and to the consumer of dead letters when a test says so.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use edge_analytics::{
    host::{BoxFuture, Host},
    run::{Engine, Next},
    store::job::{JobQueue, Message, QueueError},
};

use super::host::TestHost;

/// Messages that wait, each with its delay.
#[derive(Clone, Default)]
pub struct TestQueue {
    waiting: Arc<Mutex<VecDeque<(Message, Duration)>>>,
    refuses: Arc<Mutex<bool>>,
}

impl JobQueue for TestQueue {
    fn send(
        &self,
        message: Message,
        delay: Duration,
    ) -> BoxFuture<'static, Result<(), QueueError>> {
        let refused = *self.refuses.lock().unwrap();
        if !refused {
            self.waiting.lock().unwrap().push_back((message, delay));
        }
        Box::pin(async move { if refused { Err(QueueError("full".to_owned())) } else { Ok(()) } })
    }
}

impl TestQueue {
    /// From now on it takes no message, or takes them again.
    pub fn refuse(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    /// The delay of the next message.
    pub fn delay(&self) -> Option<Duration> {
        self.waiting.lock().unwrap().front().map(|(_, delay)| *delay)
    }

    /// Takes the next message out without delivering it.
    pub fn take(&self) -> Option<Message> {
        self.waiting.lock().unwrap().pop_front().map(|(message, _)| message)
    }

    /// Delivers the next message; false if there is none.
    pub async fn deliver_one(&self, engine: &Engine) -> bool {
        let Some(message) = self.take() else { return false };
        self.follow(engine.recalculate(&message).await);
        true
    }

    /// Delivers the next message when its delay is over by the clock of `host`.
    pub async fn deliver_later(&self, engine: &Engine, host: &TestHost) -> bool {
        let Some(delay) = self.delay() else { return false };
        host.set(host.now() + delay);
        self.deliver_one(engine).await
    }

    /// Delivers the next message to the consumer of dead letters.
    pub async fn deliver_dead(&self, engine: &Engine) -> bool {
        let Some(message) = self.take() else { return false };
        self.follow(engine.give_up(&message).await);
        true
    }

    /// Delivers messages until none is left; says how many that were.
    pub async fn deliver_all(&self, engine: &Engine) -> usize {
        let mut delivered = 0;
        while self.deliver_one(engine).await {
            delivered += 1;
            assert!(delivered < 10_000, "the job never ends");
        }
        delivered
    }

    fn follow(&self, next: Next) {
        if let Next::Send(message, delay) = next {
            self.waiting.lock().unwrap().push_back((message, delay));
        }
    }
}
