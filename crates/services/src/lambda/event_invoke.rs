//! What becomes of asynchronous invocations: retries, age and destinations, for a function, a version or an alias.

use lambkin_model::lambda::{
    DeleteFunctionEventInvokeConfigRequest, DestinationConfig, FunctionEventInvokeConfig,
    GetFunctionEventInvokeConfigRequest, ListFunctionEventInvokeConfigsRequest,
    ListFunctionEventInvokeConfigsResponse, OnFailure, OnSuccess, PutFunctionEventInvokeConfigRequest,
    UpdateFunctionEventInvokeConfigRequest,
};
use lambkin_model::{AwsError, RequestContext, Timestamp};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::dependents::Dependent;
use super::faults::{invalid, not_found};
use super::names::{self, LATEST, Target};
use super::read::{page, place};
use super::record::FORMAT;
use crate::paging;

/// The configuration of one qualifier; what is absent has AWS's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventInvoke {
    v: u32,
    modified_ms: i64,
    /// MaximumRetryAttempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retries: Option<i32>,
    /// MaximumEventAgeInSeconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age_s: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_success: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_failure: Option<String>,
}

impl Dependent for EventInvoke {
    const KIND: &'static str = "lambda.event-invoke";

    fn format(&self) -> u32 {
        self.v
    }
}

/// What a request sets: the outer `None` where it leaves a destination as it is.
struct Asked {
    retries: Option<i32>,
    age_s: Option<i32>,
    on_success: Option<Option<String>>,
    on_failure: Option<Option<String>>,
}

impl Inner {
    pub(crate) async fn put_event_invoke(
        &self,
        context: &RequestContext,
        request: PutFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.find(context, "PutFunctionEventInvokeConfig", name, qualifier)?.target;
        let (retries, age_s) = (request.maximum_retry_attempts, request.maximum_event_age_in_seconds);
        let asked = asked(&target, retries, age_s, request.destination_config)?;
        let setting = EventInvoke {
            v: FORMAT,
            modified_ms: self.clock.now_ms(),
            retries,
            age_s,
            on_success: asked.on_success.flatten(),
            on_failure: asked.on_failure.flatten(),
        };
        self.set_dependent(&target, |_| Ok((Some(setting.clone()), ()))).await?;
        Ok(view(&target, target.qualifier.as_deref().unwrap_or(LATEST), &setting))
    }

    pub(crate) async fn update_event_invoke(
        &self,
        context: &RequestContext,
        request: UpdateFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.find(context, "UpdateFunctionEventInvokeConfig", name, qualifier)?.target;
        let (retries, age_s) = (request.maximum_retry_attempts, request.maximum_event_age_in_seconds);
        let asked = asked(&target, retries, age_s, request.destination_config)?;
        let now_ms = self.clock.now_ms();
        let setting = self
            .set_dependent::<EventInvoke, _>(&target, |present| {
                let mut next = present.ok_or_else(|| absent(&target))?;
                next.v = FORMAT;
                next.modified_ms = now_ms;
                next.retries = asked.retries.or(next.retries);
                next.age_s = asked.age_s.or(next.age_s);
                if let Some(destination) = &asked.on_success {
                    next.on_success.clone_from(destination);
                }
                if let Some(destination) = &asked.on_failure {
                    next.on_failure.clone_from(destination);
                }
                Ok((Some(next.clone()), next))
            })
            .await?;
        Ok(view(&target, target.qualifier.as_deref().unwrap_or(LATEST), &setting))
    }

    pub(crate) fn get_event_invoke(
        &self,
        context: &RequestContext,
        request: &GetFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let found = self.find(context, "GetFunctionEventInvokeConfig", name, qualifier)?;
        match found.entry.dependent::<EventInvoke>(found.qualifier()) {
            Some(setting) => Ok(view(&found.target, found.qualifier(), &setting)),
            None => Err(absent(&found.target)),
        }
    }

    pub(crate) async fn delete_event_invoke(
        &self,
        context: &RequestContext,
        request: DeleteFunctionEventInvokeConfigRequest,
    ) -> Result<(), AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.find(context, "DeleteFunctionEventInvokeConfig", name, qualifier)?.target;
        self.set_dependent::<EventInvoke, _>(&target, |present| match present {
            Some(_) => Ok((None, ())),
            None => Err(absent(&target)),
        })
        .await
    }

    pub(crate) fn list_event_invokes(
        &self,
        context: &RequestContext,
        request: &ListFunctionEventInvokeConfigsRequest,
    ) -> Result<ListFunctionEventInvokeConfigsResponse, AwsError> {
        let name = request.function_name.as_deref();
        let found = self.find(context, "ListFunctionEventInvokeConfigs", name, None)?;
        let after = place(request.marker.as_deref())?;
        let page = page(request.max_items);
        let mut settings: Vec<_> = found
            .entry
            .dependents::<EventInvoke>()
            .filter(|(qualifier, _)| after.as_deref().is_none_or(|after| *qualifier > after))
            .take(page + 1)
            .collect();
        let next_marker = paging::cut(&mut settings, page, |(qualifier, _)| qualifier);
        let configs = settings.iter().map(|(qualifier, setting)| view(&found.target, qualifier, setting));
        Ok(ListFunctionEventInvokeConfigsResponse {
            function_event_invoke_configs: Some(configs.collect()),
            next_marker,
        })
    }
}

/// ARN of what a configuration is of: never without a qualifier.
fn owner_arn(target: &Target, qualifier: &str) -> String {
    format!("{}:{qualifier}", target.scope.function_arn(&target.name))
}

fn absent(target: &Target) -> AwsError {
    let arn = owner_arn(target, target.qualifier.as_deref().unwrap_or(LATEST));
    not_found(format!("The function {arn} doesn't have an EventInvokeConfig"))
}

/// What a request sets, checked.
fn asked(
    target: &Target,
    retries: Option<i32>,
    age_s: Option<i32>,
    destinations: Option<DestinationConfig>,
) -> Result<Asked, AwsError> {
    if retries.is_none() && age_s.is_none() && destinations.is_none() {
        return Err(invalid("You must specify at least one of error handling or destination setting."));
    }
    let destinations = destinations.unwrap_or_default();
    let given = |destination: Option<String>| destination.filter(|arn| !arn.is_empty());
    let on_success = destinations.on_success.map(|to| given(to.destination));
    let on_failure = destinations.on_failure.map(|to| given(to.destination));
    if let Some(Some(arn)) = &on_success {
        check_destination(target, arn, false)?;
    }
    if let Some(Some(arn)) = &on_failure {
        check_destination(target, arn, true)?;
    }
    Ok(Asked { retries, age_s, on_success, on_failure })
}

/// Refuses what results cannot be sent to: destinations are standard queues and topics, event buses, other
/// functions, and, of failures, buckets.
fn check_destination(target: &Target, arn: &str, failure: bool) -> Result<(), AwsError> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let fits = match parts.as_slice() {
        ["arn", _, "s3", "", "", bucket] => failure && !bucket.is_empty() && !bucket.contains('/'),
        ["arn", _, service, region, account, name] if !region.is_empty() && !account.is_empty() => {
            match *service {
                "sqs" | "sns" => is_name(name),
                "events" => name.strip_prefix("event-bus/").is_some_and(|bus| !bus.is_empty()),
                "lambda" => names::parse(arn).is_some(),
                _ => false,
            }
        }
        _ => false,
    };
    if !fits {
        return Err(invalid(format!("The destination ARN {arn} is invalid.")));
    }
    let own = target.scope.function_arn(&target.name);
    if arn.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) {
        return Err(invalid("You can't specify the function as a destination for itself."));
    }
    Ok(())
}

/// A configuration as the API shows it.
fn view(target: &Target, qualifier: &str, setting: &EventInvoke) -> FunctionEventInvokeConfig {
    FunctionEventInvokeConfig {
        last_modified: Some(Timestamp(setting.modified_ms)),
        function_arn: Some(owner_arn(target, qualifier)),
        maximum_retry_attempts: setting.retries,
        maximum_event_age_in_seconds: setting.age_s,
        destination_config: Some(DestinationConfig {
            on_success: Some(OnSuccess { destination: setting.on_success.clone() }),
            on_failure: Some(OnFailure { destination: setting.on_failure.clone() }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use lambkin_core::ids::Scope;

    use super::*;

    #[test]
    fn destinations_are_checked() {
        let target =
            Target { scope: Scope::new("000000000000", "us-east-1"), name: "f".to_owned(), qualifier: None };
        let check =
            |arn: &str, failure| check_destination(&target, arn, failure).map_err(|error| error.message);
        for arn in [
            "arn:aws:sqs:us-east-1:000000000000:q",
            "arn:aws:sns:eu-west-1:123456789012:t",
            "arn:aws:events:us-east-1:000000000000:event-bus/a/b.c",
            "arn:aws:lambda:us-east-1:000000000000:function:g:live",
            "arn:aws:lambda:us-east-1:000000000000:function:ff",
        ] {
            assert_eq!((check(arn, false), check(arn, true)), (Ok(()), Ok(())), "{arn}");
        }
        assert_eq!(check("arn:aws:s3:::bucket", true), Ok(()));
        for arn in [
            "arn:aws:s3:::bucket",
            "arn:aws:sqs:us-east-1:000000000000:q.fifo",
            "arn:aws:sqs:::q",
            "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "kafka://topic",
        ] {
            assert_eq!(check(arn, false), Err(format!("The destination ARN {arn} is invalid.")), "{arn}");
        }
        let own = "arn:aws:lambda:us-east-1:000000000000:function:f";
        for arn in [own.to_owned(), format!("{own}:live")] {
            assert!(check(&arn, true).unwrap_err().contains("destination for itself"), "{arn}");
        }
    }
}
