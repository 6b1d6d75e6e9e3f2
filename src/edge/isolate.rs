//! What an isolate creates once for all its events: settings, catalogue, clients, router.
//!
//! An isolate processes many events. It can continue after a deployment that changes only variables,
//! secrets or bindings; its events then have another environment. So what was created is kept together
//! with its environment, and is created again for another one. A failure is not kept.
//!
//! Everything kept here is stateless, or memory that requests may share. The handles of the queue and of
//! the KV namespace belong to the environment. What belongs to one request, such as its
//! [`worker::Context`], is passed with it.
//!
//! Source: [changes of bindings](https://developers.cloudflare.com/workers/runtime-apis/bindings/#making-changes-to-bindings).

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use axum::Router;
use wasm_bindgen::JsValue;
use worker::Env;

use super::bindings::{CACHE_BINDING, QUEUE_BINDING, WorkersQueue, WorkersSnapshots};
use crate::{
    api::{self, ApiError, App, IsolateMemory, SessionMemory},
    dynamodb::Client,
    host::{SharedHost, WorkersCache, WorkersHost},
    metrics::catalogue::{Catalogue, CatalogueError},
    run::Engine,
    settings::{Misconfigured, Problem, Settings},
};

/// How long a request to the API retries a call to DynamoDB: its caller is waiting.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Isolate>>> = const { RefCell::new(None) };
}

/// What is created once.
pub struct Isolate {
    /// The environment that it was created from, for comparison.
    env: JsValue,
    /// The settings in it.
    pub settings: Settings,
    /// The catalogue of this build.
    pub catalogue: Catalogue,
    /// The client of scheduled runs and slices, which retry for longer than requests.
    pub client: Client,
    /// The scheduled runs and the slices of recalculations.
    pub engine: Engine,
    /// The queue of recalculations.
    pub queue: WorkersQueue,
    /// The snapshot of the realtime counters.
    pub snapshots: WorkersSnapshots,
    /// The API.
    pub router: Router,
}

/// The Worker cannot process any event.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SetupError {
    /// Variables, secrets or bindings are missing or malformed.
    #[error("misconfigured: {0}")]
    Misconfigured(#[from] Misconfigured),
    /// The package is damaged.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

impl From<SetupError> for ApiError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Misconfigured(problems) => Self::Misconfigured(problems),
            SetupError::Catalogue(error) => Self::Internal(error.to_string()),
        }
    }
}

impl Isolate {
    /// Returns what was created from this environment before, or creates it.
    ///
    /// # Errors
    ///
    /// [`SetupError`], and again at the next event.
    pub fn of(env: &Env) -> Result<Rc<Self>, SetupError> {
        let env_object: &JsValue = env.as_ref();
        // The borrow ends here, so a panic below leaves nothing borrowed.
        let current = CURRENT.with_borrow(Clone::clone);
        if let Some(isolate) =
            current.filter(|isolate| js_sys::Object::is(&isolate.env, env_object))
        {
            return Ok(isolate);
        }
        let isolate = Rc::new(Self::new(env)?);
        CURRENT.set(Some(isolate.clone()));
        Ok(isolate)
    }

    fn new(env: &Env) -> Result<Self, SetupError> {
        let (settings, queue, snapshots) = configuration(env)?;
        let catalogue = Catalogue::embedded()?;
        let host: SharedHost = Arc::new(WorkersHost);
        let client = Client::new(settings.connection.clone(), host.clone());
        let engine =
            Engine::new(client.clone(), host.clone(), settings.table.clone(), catalogue.clone())
                .with_options(settings.options);
        let router = api::router(App {
            client: client.with_patience(REQUEST_PATIENCE),
            settings: settings.clone(),
            catalogue: catalogue.clone(),
            host,
            sessions: SessionMemory::default(),
            queue: Arc::new(queue.clone()),
            snapshots: Arc::new(snapshots.clone()),
            cache: Arc::new(WorkersCache),
            memory: IsolateMemory::default(),
        });
        let env: &JsValue = env.as_ref();
        let env = env.clone();
        Ok(Self { env, settings, catalogue, client, engine, queue, snapshots, router })
    }
}

/// The settings in the environment, and its bindings.
fn configuration(env: &Env) -> Result<(Settings, WorkersQueue, WorkersSnapshots), Misconfigured> {
    let settings = Settings::read(|variable| env.var(variable).ok().map(|value| value.to_string()));
    let missing = |variable, expected| Problem { variable, is_missing: true, expected };
    let queue = env.queue(QUEUE_BINDING).map_err(|_| {
        missing(QUEUE_BINDING, "a Cloudflare Queue, in [[queues.producers]] of wrangler.toml")
    });
    let namespace = env.kv(CACHE_BINDING).map_err(|_| {
        missing(CACHE_BINDING, "a Workers KV namespace, in [[kv_namespaces]] of wrangler.toml")
    });
    match (settings, namespace, queue) {
        (Ok(settings), Ok(namespace), Ok(queue)) => {
            Ok((settings, WorkersQueue(queue), WorkersSnapshots(namespace)))
        }
        (settings, namespace, queue) => {
            let mut problems = settings.err().map_or_else(Vec::new, |problems| problems.0);
            problems.extend(namespace.err());
            problems.extend(queue.err());
            Err(Misconfigured(problems))
        }
    }
}
