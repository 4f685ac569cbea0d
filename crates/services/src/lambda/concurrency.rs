//! Concurrency of functions: what is reserved for them, what their account has left, and what the invoker is
//! told of both.

use std::collections::HashSet;
use std::ops::Bound;

use lambkin_core::concurrency::Concurrency;
use lambkin_core::ids::Scope;
use lambkin_model::lambda::{
    Concurrency as ConcurrencyOutput, DeleteFunctionConcurrencyRequest, GetFunctionConcurrencyRequest,
    GetFunctionConcurrencyResponse, GetFunctionScalingConfigRequest, GetFunctionScalingConfigResponse,
    PutFunctionConcurrencyRequest, PutFunctionScalingConfigRequest, PutFunctionScalingConfigResponse,
};
use lambkin_model::{AwsError, RequestContext};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::catalogue::Entry;
use super::dependents::Dependent;
use super::faults::invalid;
use super::names::{LATEST, Target};
use super::provisioned;
use super::record::FORMAT;

/// What of the account's limit has to stay for functions without a reservation (AWS quota); all of a limit that is
/// smaller.
const LEAST_UNRESERVED: u32 = 100;

/// ReservedConcurrentExecutions of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reserved {
    v: u32,
    executions: u32,
}

impl Dependent for Reserved {
    const KIND: &'static str = "lambda.reserved-concurrency";

    fn format(&self) -> u32 {
        self.v
    }
}

/// What is reserved for a function.
pub(crate) fn reserved(entry: &Entry) -> Option<u32> {
    entry.dependent::<Reserved>(LATEST).map(|reserved| reserved.executions)
}

/// What the invoker is to know of a function.
pub(crate) fn of(entry: &Entry) -> Concurrency {
    let counts = provisioned::per_version(entry).into_iter();
    // What cannot run yet is told of again once it can.
    let runnable =
        counts.filter_map(|(number, count)| Some((entry.versions.get(&number)?.spec.clone()?, count)));
    Concurrency { reserved: reserved(entry), provisioned: runnable.collect() }
}

/// What a function takes of its account's limit, whether it runs or not.
fn claim(entry: &Entry) -> u64 {
    reserved(entry).map_or_else(|| provisioned::total(entry, None), u64::from)
}

impl Inner {
    pub(crate) async fn put_concurrency(
        &self,
        context: &RequestContext,
        request: PutFunctionConcurrencyRequest,
    ) -> Result<ConcurrencyOutput, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.function_alone(context, "PutFunctionConcurrency", name)?;
        let asked = request.reserved_concurrent_executions.unwrap_or_default();
        let executions = u32::try_from(asked).unwrap_or_default();
        // Two functions at once could each take the last that is left.
        let _alone = self.concurrency_changes.lock().await;
        let entry = self.find_target(target.clone())?.entry;
        let provisioned = provisioned::total(&entry, None);
        if u64::from(executions) < provisioned {
            return Err(invalid(format!(
                "Specified ReservedConcurrentExecutions for function should not be lower than function's total \
                 provisioned concurrency [{provisioned}]."
            )));
        }
        self.check_unreserved(&entry, executions.into(), "ReservedConcurrentExecutions")?;
        self.set_dependent(&target, |_| Ok((Some(Reserved { v: FORMAT, executions }), ()))).await?;
        Ok(ConcurrencyOutput { reserved_concurrent_executions: Some(asked) })
    }

    pub(crate) fn get_concurrency(
        &self,
        context: &RequestContext,
        request: &GetFunctionConcurrencyRequest,
    ) -> Result<GetFunctionConcurrencyResponse, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.function_alone(context, "GetFunctionConcurrency", name)?;
        Ok(GetFunctionConcurrencyResponse {
            reserved_concurrent_executions: shown(&self.find_target(target)?.entry),
        })
    }

    pub(crate) async fn delete_concurrency(
        &self,
        context: &RequestContext,
        request: DeleteFunctionConcurrencyRequest,
    ) -> Result<(), AwsError> {
        let name = request.function_name.as_deref();
        let target = self.function_alone(context, "DeleteFunctionConcurrency", name)?;
        let _alone = self.concurrency_changes.lock().await;
        self.set_dependent::<Reserved, _>(&target, |_| Ok((None, ()))).await
    }

    /// Refuses a setting that only functions on managed instances have.
    pub(crate) fn put_scaling(
        &self,
        context: &RequestContext,
        request: &PutFunctionScalingConfigRequest,
    ) -> Result<PutFunctionScalingConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        self.find(context, "PutFunctionScalingConfig", name, qualifier)?;
        Err(invalid(
            "FunctionScalingConfig is for functions with a capacity provider, and Lambkin does not support \
             CapacityProviderConfig yet.",
        ))
    }

    /// A function without a capacity provider has no scaling configuration.
    pub(crate) fn get_scaling(
        &self,
        context: &RequestContext,
        request: &GetFunctionScalingConfigRequest,
    ) -> Result<GetFunctionScalingConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let found = self.find(context, "GetFunctionScalingConfig", name, qualifier)?;
        Ok(GetFunctionScalingConfigResponse { function_arn: Some(found.target.arn()), ..Default::default() })
    }

    /// What of the account's limit no function claims.
    pub(crate) fn unreserved(&self, scope: &Scope) -> u32 {
        let claimed: u64 =
            self.catalogue.list(scope, Bound::Unbounded, usize::MAX).iter().map(|e| claim(e)).sum();
        let left = u64::from(self.config.concurrent_executions).saturating_sub(claimed);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Says where a limit that was lowered leaves functions without a reservation less than they are to have.
    pub(crate) fn warn_of_claims(&self) {
        let least = LEAST_UNRESERVED.min(self.config.concurrent_executions);
        let scopes: HashSet<Scope> = self.catalogue.all().iter().map(|entry| entry.scope.clone()).collect();
        for scope in scopes {
            let unreserved = self.unreserved(&scope);
            if unreserved < least {
                tracing::warn!(
                    account = &*scope.account,
                    region = &*scope.region,
                    unreserved,
                    limit = self.config.concurrent_executions,
                    "functions have reserved so much of concurrent-executions that little is left for all others"
                );
            }
        }
    }

    /// Refuses to let a function claim more of the account's limit than may be claimed. `what` is the setting that
    /// AWS's message names.
    pub(crate) fn check_unreserved(&self, entry: &Entry, next: u64, what: &str) -> Result<(), AwsError> {
        let limit = self.config.concurrent_executions;
        let least = LEAST_UNRESERVED.min(limit);
        let present = claim(entry);
        let others_left = u64::from(self.unreserved(&entry.scope)) + present;
        if next > present && others_left < next + u64::from(least) {
            return Err(invalid(format!(
                "Specified {what} for function decreases account's UnreservedConcurrentExecution below its minimum \
                 value of [{least}]."
            )));
        }
        Ok(())
    }

    /// The function that a request means, for settings that only functions as a whole have.
    fn function_alone(
        &self,
        context: &RequestContext,
        operation: &str,
        name: Option<&str>,
    ) -> Result<Target, AwsError> {
        let target = self.resolve(context, operation, name, None)?;
        match target.qualifier {
            None => Ok(target),
            Some(_) => Err(invalid(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this \
                 operation. Please specify either a function name or an unqualified function ARN.",
            )),
        }
    }
}

/// ReservedConcurrentExecutions as the API shows it.
pub(crate) fn shown(entry: &Entry) -> Option<i32> {
    reserved(entry).map(|executions| i32::try_from(executions).unwrap_or(i32::MAX))
}
