//! Extensions as the Extensions API knows them: who has registered, for what, and where each stands.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;

use crate::session::{Event, ExtensionHost, ExtensionInfo, ShutdownReason};

/// Most extensions of one environment (AWS quota).
const MAX_EXTENSIONS: usize = 10;

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Invoke,
    Shutdown,
}

impl Kind {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "INVOKE" => Some(Self::Invoke),
            "SHUTDOWN" => Some(Self::Shutdown),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Invoke => "INVOKE",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

/// Where an extension stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has registered and not yet asked for an event.
    Registered,
    /// It waits for an event.
    Ready,
    /// It has an event.
    Running,
    /// It has reported an error; nothing more is expected of it.
    Failed,
}

#[derive(Debug)]
struct Extension {
    id: String,
    name: String,
    external: bool,
    kinds: Vec<Kind>,
    standing: Standing,
    /// The event that waits to be fetched.
    offered: Option<Bytes>,
    error_type: Option<String>,
}

/// Why a request was refused: the error's type and message.
pub(crate) type Refusal = (&'static str, &'static str);

/// What one call of `next` gets at one moment.
pub(crate) enum Next {
    Event(Bytes),
    Wait,
    Refused(Refusal),
}

#[derive(Debug, Default)]
struct State {
    host: ExtensionHost,
    known: Vec<Extension>,
    /// No further extension may register.
    closed: bool,
    /// Type of the first error that one of them has reported.
    reported: Option<String>,
    changes: u64,
}

/// The extensions of one environment. Requests and the session are polled by one task, so the lock is free.
#[derive(Debug, Default)]
pub(crate) struct Extensions(Mutex<State>);

const UNKNOWN: Refusal = ("Extension.UnknownExtensionIdentifier", "Unknown extension identifier");

impl Extensions {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and each change is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn serve(&self, host: ExtensionHost) {
        self.lock().host = host;
    }

    pub(crate) fn host(&self) -> ExtensionHost {
        self.lock().host.clone()
    }

    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Registers; its identifier.
    pub(crate) fn register(&self, name: &str, kinds: Vec<Kind>) -> Result<String, Refusal> {
        let mut state = self.lock();
        let external = state.host.external.iter().any(|expected| expected == name);
        if state.known.iter().any(|extension| extension.name == name) {
            return Err(("Extension.AlreadyRegistered", "Extension with this name already registered"));
        }
        if state.closed {
            return Err(("Extension.RegistrationClosed", "Extensions can register in the init phase only"));
        }
        if !external && kinds.contains(&Kind::Shutdown) {
            return Err((
                "ShutdownEventNotSupportedForInternalExtension",
                "SHUTDOWN event is not supported for internal extensions",
            ));
        }
        if state.known.len() == MAX_EXTENSIONS {
            return Err(("Extension.TooManyExtensions", "Extension limit (10) reached"));
        }
        let id = uuid::Uuid::new_v4().to_string();
        state.known.push(Extension {
            id: id.clone(),
            name: name.to_owned(),
            external,
            kinds,
            standing: Standing::Registered,
            offered: None,
            error_type: None,
        });
        state.changes += 1;
        Ok(id)
    }

    /// A call of `next` has arrived.
    pub(crate) fn next_arrives(&self, id: &str) -> Next {
        let mut state = self.lock();
        let Some(extension) = state.known.iter_mut().find(|extension| extension.id == id) else {
            return Next::Refused(UNKNOWN);
        };
        if extension.standing == Standing::Failed {
            return Next::Refused(("InvalidStateTransition", "The extension has reported an error"));
        }
        extension.standing = Standing::Ready;
        state.changes += 1;
        drop(state);
        self.next_waits(id)
    }

    /// What a waiting call of `next` gets.
    pub(crate) fn next_waits(&self, id: &str) -> Next {
        let mut state = self.lock();
        let extension = state.known.iter_mut().find(|extension| extension.id == id);
        match extension.and_then(|extension| extension.offered.take().zip(Some(extension))) {
            Some((event, extension)) => {
                extension.standing = Standing::Running;
                Next::Event(event)
            }
            None => Next::Wait,
        }
    }

    /// An extension reports an error.
    pub(crate) fn fails(&self, id: &str, error_type: String, in_init: bool) -> Result<(), Refusal> {
        let mut state = self.lock();
        let Some(extension) = state.known.iter_mut().find(|extension| extension.id == id) else {
            return Err(UNKNOWN);
        };
        if in_init && extension.standing != Standing::Registered {
            return Err(("InvalidStateTransition", "The extension is past its init"));
        }
        extension.standing = Standing::Failed;
        extension.error_type = Some(error_type.clone());
        state.reported.get_or_insert(error_type);
        state.changes += 1;
        Ok(())
    }

    /// Whether an identifier is known.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.lock().known.iter().any(|extension| extension.id == id)
    }

    /// Type of the first error that one of them has reported.
    pub(crate) fn reported(&self) -> Option<String> {
        self.lock().reported.clone()
    }

    /// Whether all that must have registered.
    pub(crate) fn all_registered(&self) -> bool {
        let state = self.lock();
        state.host.external.iter().all(|name| state.known.iter().any(|extension| extension.name == *name))
    }

    /// Whether all wait for an event (or have failed).
    pub(crate) fn all_idle(&self) -> bool {
        let state = self.lock();
        let idle = |extension: &Extension| match extension.standing {
            Standing::Ready => extension.offered.is_none(),
            Standing::Failed => true,
            Standing::Registered | Standing::Running => false,
        };
        state.known.iter().all(idle)
    }

    /// INIT is over: no further extension may register.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Whether any is told of invocations.
    pub(crate) fn any_for_invoke(&self) -> bool {
        self.lock().known.iter().any(|extension| extension.kinds.contains(&Kind::Invoke))
    }

    /// Whether there are any, and any external ones: they decide how an environment ends.
    pub(crate) fn any(&self) -> (bool, bool) {
        let state = self.lock();
        (!state.known.is_empty(), state.known.iter().any(|extension| extension.external))
    }

    /// Tells of an invocation.
    pub(crate) fn invoke(&self, event: &Event<'_>) {
        let mut state = self.lock();
        if !state.known.iter().any(|extension| extension.kinds.contains(&Kind::Invoke)) {
            return;
        }
        let tracing = (!event.trace_id.is_empty())
            .then_some(Tracing { kind: "X-Amzn-Trace-Id", value: event.trace_id });
        let body = json(&Told::Invoke {
            event_type: "INVOKE",
            deadline_ms: event.deadline_ms,
            request_id: event.request_id,
            invoked_function_arn: event.invoked_function_arn,
            tracing,
        });
        state.offer(Kind::Invoke, &body);
    }

    /// Tells that the environment ends; external numbers of those who listen to that.
    pub(crate) fn shut_down(&self, reason: ShutdownReason, deadline_ms: i64) -> Vec<usize> {
        let mut state = self.lock();
        let body =
            json(&Told::Shutdown { event_type: "SHUTDOWN", shutdown_reason: reason.name(), deadline_ms });
        state.offer(Kind::Shutdown, &body);
        let listens = |name: &String| {
            state.known.iter().any(|one| {
                one.name == *name && one.kinds.contains(&Kind::Shutdown) && one.standing != Standing::Failed
            })
        };
        let external = state.host.external.iter().enumerate();
        external.filter(|(_, name)| listens(name)).map(|(number, _)| number).collect()
    }

    /// For the log: what became of those expected and those that came.
    pub(crate) fn infos(&self) -> Vec<ExtensionInfo> {
        let state = self.lock();
        let absent = state
            .host
            .external
            .iter()
            .filter(|name| !state.known.iter().any(|extension| extension.name == **name))
            .map(|name| ExtensionInfo {
                name: name.clone(),
                state: "Started",
                events: Vec::new(),
                error_type: None,
            });
        let known = state.known.iter().map(|extension| ExtensionInfo {
            name: extension.name.clone(),
            state: match extension.standing {
                Standing::Registered => "Registered",
                Standing::Ready => "Ready",
                Standing::Running => "Running",
                Standing::Failed => "InitError",
            },
            events: extension.kinds.iter().map(|kind| kind.name()).collect(),
            error_type: extension.error_type.clone(),
        });
        known.chain(absent).collect()
    }
}

impl State {
    fn offer(&mut self, kind: Kind, body: &Bytes) {
        for extension in &mut self.known {
            if extension.kinds.contains(&kind) && extension.standing != Standing::Failed {
                extension.offered = Some(body.clone());
            }
        }
        self.changes += 1;
    }
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Told<'a> {
    Invoke {
        event_type: &'static str,
        deadline_ms: i64,
        request_id: &'a str,
        invoked_function_arn: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tracing: Option<Tracing<'a>>,
    },
    Shutdown {
        event_type: &'static str,
        shutdown_reason: &'static str,
        deadline_ms: i64,
    },
}

#[derive(Serialize)]
struct Tracing<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    value: &'a str,
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extensions(external: &[&str]) -> Extensions {
        let extensions = Extensions::default();
        let external = external.iter().map(|name| (*name).to_owned()).collect();
        extensions.serve(ExtensionHost { external, ..ExtensionHost::default() });
        extensions
    }

    fn event(text: Next) -> serde_json::Value {
        match text {
            Next::Event(body) => serde_json::from_slice(&body).unwrap(),
            Next::Wait => panic!("waits"),
            Next::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    const EVENT: Event<'static> = Event {
        request_id: "id",
        deadline_ms: 5,
        invoked_function_arn: "arn",
        trace_id: "Root=1",
        client_context: None,
        cognito_identity: None,
        payload: Bytes::new(),
        response: None,
    };

    #[test]
    fn from_registration_to_shutdown() {
        let all = extensions(&["agent", "other"]);
        let agent = all.register("agent", vec![Kind::Invoke, Kind::Shutdown]).unwrap();
        assert!(!all.all_registered() && !all.all_idle());
        let other = all.register("other", Vec::new()).unwrap();
        let inner = all.register("inner", vec![Kind::Invoke]).unwrap();
        assert!(all.all_registered());
        for id in [&agent, &other, &inner] {
            assert!(!all.all_idle());
            assert!(matches!(all.next_arrives(id), Next::Wait));
        }
        assert!(all.all_idle() && all.any_for_invoke());
        all.close();
        assert_eq!(all.register("late", Vec::new()).unwrap_err().0, "Extension.RegistrationClosed");

        all.invoke(&EVENT);
        assert!(!all.all_idle());
        let told = event(all.next_waits(&agent));
        assert_eq!(
            told,
            serde_json::json!({"eventType": "INVOKE", "deadlineMs": 5, "requestId": "id", "invokedFunctionArn": "arn",
                "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1"}})
        );
        assert!(matches!(all.next_waits(&other), Next::Wait));
        event(all.next_waits(&inner));
        assert!(matches!(all.next_arrives(&agent), Next::Wait) && !all.all_idle());
        assert!(matches!(all.next_arrives(&inner), Next::Wait) && all.all_idle());

        assert_eq!(all.shut_down(ShutdownReason::Spindown, 9), [0]);
        let told = event(all.next_waits(&agent));
        assert_eq!(
            told,
            serde_json::json!({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 9})
        );
    }

    #[test]
    fn refusals_and_errors() {
        let all = extensions(&["agent"]);
        assert_eq!(
            all.register("inner", vec![Kind::Shutdown]).unwrap_err().0,
            "ShutdownEventNotSupportedForInternalExtension"
        );
        let agent = all.register("agent", vec![Kind::Shutdown]).unwrap();
        assert_eq!(all.register("agent", Vec::new()).unwrap_err().0, "Extension.AlreadyRegistered");
        assert!(matches!(all.next_arrives("nobody"), Next::Refused(UNKNOWN)));
        assert_eq!(all.fails("nobody", String::new(), true), Err(UNKNOWN));
        all.fails(&agent, "Agent.Broken".into(), true).unwrap();
        assert_eq!(all.reported(), Some("Agent.Broken".to_owned()));
        assert!(matches!(all.next_arrives(&agent), Next::Refused(_)) && all.all_idle());
        assert!(all.shut_down(ShutdownReason::Failure, 0).is_empty());
        for number in 1..10 {
            all.register(&format!("inner-{number}"), Vec::new()).unwrap();
        }
        assert_eq!(all.register("one-more", Vec::new()).unwrap_err().0, "Extension.TooManyExtensions");
    }
}
