//! The SHUTDOWN phase of an environment with extensions: the runtime is asked to end, then the extensions are
//! told, then everything is killed. <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambkin_core::clock::Clock;
use lambkin_core::logs::{LogStore, LogStreamKey};
use lambkin_runtime::{LogBuffer, ShutdownReason};
use lambkin_sandbox::Sandbox;

use crate::environment::Live;
use crate::output::Output;

/// Time for the whole phase where there are external extensions (AWS's).
const EXTERNAL: Duration = Duration::from_secs(2);
/// ... and where there are only internal ones.
const INTERNAL: Duration = Duration::from_millis(500);
/// Share of the time that the runtime has at most before external extensions are told.
const RUNTIME_SHARE: f64 = 0.3;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// An environment whose extensions are seen off.
pub(crate) struct Farewell {
    pub(crate) live: Live,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) reason: ShutdownReason,
    /// Whether there are external extensions.
    pub(crate) external: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) key: LogStreamKey,
}

impl Farewell {
    /// Lets them finish, then ends the sandbox.
    pub(crate) async fn run(mut self) {
        let allowed = if self.external { EXTERNAL } else { INTERNAL };
        let deadline = Instant::now() + allowed;
        let deadline_ms = self.clock.now_ms().saturating_add(i64::try_from(allowed.as_millis()).unwrap_or(0));
        let (logs, key) = (Arc::clone(&self.logs), self.key.clone());
        let mut log = LogBuffer::with_outlet(move |events| logs.append_soon(&key, events));
        // If it cannot be thawed it has ended.
        let _ = self.sandbox.thaw();
        self.sandbox.signal(SIGTERM);
        let share = if self.external { allowed.mul_f64(RUNTIME_SHARE) } else { allowed };
        let Live { session, output, exit, helpers, .. } = &mut self.live;
        let clock = &*self.clock;
        attend(exit, Instant::now() + share, session.serve(), output, &mut log, clock).await;
        self.sandbox.signal(SIGKILL);
        if self.external {
            let listeners = session.shut_down(self.reason, deadline_ms);
            attend(helpers.all_ended(listeners), deadline, session.serve(), output, &mut log, clock).await;
        }
        self.sandbox.kill();
        output.drain(&mut log, clock);
        log.flush(clock.now_ms());
        let events = log.take_events();
        if !events.is_empty() {
            self.logs.append_soon(&self.key, events);
        }
    }
}

/// Waits for something until a deadline, while extensions are served and output goes to the log.
async fn attend<T>(
    what: impl Future<Output = T>,
    deadline: Instant,
    serving: impl Future<Output = ()>,
    output: &mut Output,
    log: &mut LogBuffer,
    clock: &dyn Clock,
) {
    let (mut what, mut serving) = (pin!(what), pin!(serving));
    let mut over = pin!(tokio::time::sleep_until(deadline.into()));
    loop {
        tokio::select! {
            biased;
            _ = &mut what => return,
            () = &mut over => return,
            () = &mut serving => {}
            () = output.pump(log, clock) => {}
        }
    }
}
