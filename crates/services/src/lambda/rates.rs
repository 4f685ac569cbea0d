//! Rates of control-plane requests. AWS lets an account make 15 requests a second in a region, of all
//! operations together, with GetFunction (100) and GetPolicy (15) counted apart and invocations not at all.
//! Here there is no limit unless the operator sets one; tools can then be tried against throttling.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lambkin_core::Clock;
use lambkin_model::handler::BoxFuture;
use lambkin_model::lambda::errors;
use lambkin_model::schema::{Operation, Service};
use lambkin_model::{AwsError, Input, Output, RequestContext, ServiceHandler};

/// Accounts and regions that are remembered before those that rest are forgotten.
const MAX_METERS: usize = 4096;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pool {
    GetFunction,
    GetPolicy,
    Rest,
}

/// Account, region and pool.
type Counted = (Arc<str>, Arc<str>, Pool);

impl Pool {
    /// `None` for invocations.
    fn of(operation: &str) -> Option<Self> {
        match operation {
            "Invoke" | "InvokeAsync" | "InvokeWithResponseStream" => None,
            "GetFunction" => Some(Self::GetFunction),
            "GetPolicy" => Some(Self::GetPolicy),
            _ => Some(Self::Rest),
        }
    }
}

/// A service of which each account may make so many control-plane requests a second in a region; a second's
/// worth may come at once.
pub struct RateLimited {
    service: Arc<dyn ServiceHandler>,
    clock: Arc<dyn Clock>,
    rate: u32,
    /// When each pool's last granted request would have come, had they come evenly.
    meters: Mutex<HashMap<Counted, Duration>>,
}

impl std::fmt::Debug for RateLimited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimited").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl RateLimited {
    /// Limits Lambda to `rate` requests a second, at least 1; GetFunction to as many more as AWS allows.
    #[must_use]
    pub fn new(service: Arc<dyn ServiceHandler>, clock: Arc<dyn Clock>, rate: u32) -> Self {
        Self { service, clock, rate: rate.max(1), meters: Mutex::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// `TooManyRequestsException` with the seconds to wait.
    fn count(&self, context: &RequestContext, operation: &str) -> Result<(), AwsError> {
        let Some(pool) = Pool::of(operation) else { return Ok(()) };
        let second = 1_000_000_000;
        let interval = if pool == Pool::GetFunction { second * 15 / 100 } else { second };
        let interval = Duration::from_nanos(interval / u64::from(self.rate));
        let now = self.clock.now();
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if meters.len() >= MAX_METERS {
            meters.retain(|_, due| *due > now);
        }
        let key = (Arc::clone(&context.caller.account), Arc::clone(&context.region), pool);
        let due = meters.get(&key).copied().unwrap_or_default().max(now) + interval;
        let wait = due.saturating_sub(now + Duration::from_secs(1).max(interval));
        if wait > Duration::ZERO {
            return Err(errors::too_many_requests_exception("Rate exceeded")
                .with("retryAfterSeconds", wait.as_secs_f64().ceil().to_string())
                .with("Type", "User")
                .with("Reason", "CallerRateLimitExceeded"));
        }
        meters.insert(key, due);
        Ok(())
    }
}

impl ServiceHandler for RateLimited {
    fn schema(&self) -> &'static Service {
        self.service.schema()
    }

    fn call<'a>(
        &'a self,
        context: &'a RequestContext,
        operation: &'static Operation,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, AwsError>> {
        match self.count(context, operation.name) {
            Ok(()) => self.service.call(context, operation, input),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use lambkin_core::clock::ManualClock;

    use super::*;
    use crate::testing::{context, context_of};

    struct Nothing;

    impl lambkin_model::lambda::Lambda for Nothing {}

    fn limited(rate: u32) -> (RateLimited, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(1_795_435_200_000));
        let service = Arc::new(lambkin_model::lambda::Handler(Arc::new(Nothing)));
        (RateLimited::new(service, clock.clone(), rate), clock)
    }

    #[test]
    fn a_seconds_worth_at_once_then_evenly() {
        let (limited, clock) = limited(15);
        let granted = || (0..100).take_while(|_| limited.count(&context(), "ListTags").is_ok()).count();
        assert_eq!(granted(), 15);
        clock.advance(Duration::from_millis(200));
        assert_eq!(granted(), 3);
        clock.advance(Duration::from_secs(60));
        assert_eq!(granted(), 15);
        let error = limited.count(&context(), "CreateFunction").unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.status, &*error.message),
            ("TooManyRequestsException", 429, "Rate exceeded")
        );
        assert_eq!(error.members["retryAfterSeconds"], "1");
        assert_eq!(error.members["Reason"], "CallerRateLimitExceeded");
    }

    #[test]
    fn what_aws_counts_apart_is_counted_apart() {
        let (limited, _) = limited(3);
        let granted = |context: &RequestContext, operation| {
            (0..1000).take_while(|_| limited.count(context, operation).is_ok()).count()
        };
        assert_eq!(granted(&context(), "ListTags"), 3);
        assert_eq!(granted(&context(), "ListFunctions"), 0);
        assert_eq!(granted(&context(), "GetPolicy"), 3);
        assert_eq!(granted(&context(), "GetFunction"), 20);
        assert_eq!(granted(&context(), "Invoke"), 1000);
        assert_eq!(granted(&context_of("111111111111", "us-east-1"), "ListTags"), 3);
        assert_eq!(granted(&context_of("000000000000", "eu-west-1"), "ListTags"), 3);
    }

    #[test]
    fn the_slowest_rate_still_lets_one_through() {
        let (limited, clock) = limited(0);
        assert!(limited.count(&context(), "ListTags").is_ok());
        assert!(limited.count(&context(), "ListTags").is_err());
        clock.advance(Duration::from_secs(1));
        assert!(limited.count(&context(), "ListTags").is_ok());
    }

    #[test]
    fn those_at_rest_are_forgotten() {
        let (limited, clock) = limited(1);
        for number in 0..MAX_METERS {
            limited.count(&context_of(&format!("{number:012}"), "us-east-1"), "ListTags").unwrap();
        }
        clock.advance(Duration::from_secs(2));
        limited.count(&context_of("999999999999", "us-east-1"), "ListTags").unwrap();
        assert_eq!(limited.meters.lock().unwrap().len(), 1);
    }
}
