//! The queue of recalculations as tests drive it: messages are kept until they are delivered, one at
//! a time, again where the consumer asks for it, and to the consumer of dead letters after four times,
//! as wrangler.toml configures it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use edge_analytics::{
    host::BoxFuture,
    job::{JobQueue, Message},
    run::{Engine, Next},
};

/// How often a message is delivered before it is a dead letter.
const DELIVERIES: usize = 4;

/// Messages that wait, each with how often it was delivered.
#[derive(Clone, Default)]
pub struct TestQueue {
    waiting: Arc<Mutex<VecDeque<(Message, usize)>>>,
    refuses: Arc<Mutex<bool>>,
}

impl JobQueue for TestQueue {
    fn send(&self, message: Message) -> BoxFuture<'static, Result<(), String>> {
        let refused = *self.refuses.lock().unwrap();
        if !refused {
            self.waiting.lock().unwrap().push_back((message, 0));
        }
        Box::pin(async move { if refused { Err("full".to_owned()) } else { Ok(()) } })
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

    /// Delivers the next message; false if there is none.
    pub async fn deliver_one(&self, engine: &Engine) -> bool {
        let next = self.waiting.lock().unwrap().pop_front();
        let Some((message, delivered)) = next else { return false };
        let outcome = if delivered == DELIVERIES {
            engine.give_up(&message).await
        } else {
            engine.recalculate(&message).await
        };
        match outcome {
            Next::Nothing => {}
            Next::Send(next) => self.waiting.lock().unwrap().push_back((next, 0)),
            Next::TryAgain(_) => {
                let delivered = (delivered + 1).min(DELIVERIES);
                self.waiting.lock().unwrap().push_back((message, delivered));
            }
        }
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
}
