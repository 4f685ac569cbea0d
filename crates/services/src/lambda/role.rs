//! Whether a function may run under a role.

use lambkin_model::AwsError;

use super::faults::invalid;
use super::names::Target;
use crate::iam::Roles;

/// Who assumes the role of a function.
const LAMBDA: &str = "lambda.amazonaws.com";

/// What is asked of the role of a function.
#[derive(Debug, Clone)]
pub enum RoleCheck {
    /// Nothing but that it is an ARN of a role.
    WellFormed,
    /// That it exists in the function's account and trusts Lambda.
    Trust(Roles),
}

impl RoleCheck {
    /// Checks the role that a function is to run under.
    ///
    /// # Errors
    /// AWS's refusals of a foreign role, and of one that is not there or does not trust Lambda.
    pub(crate) fn check(&self, role: &str, target: &Target) -> Result<(), AwsError> {
        let Self::Trust(roles) = self else { return Ok(()) };
        let account = &target.scope.account;
        if role.split(':').nth(4) != Some(account) {
            return Err(AwsError::new(
                "AccessDeniedException",
                403,
                "Cross-account pass role is not allowed.",
            ));
        }
        let function = target.scope.function_arn(&target.name);
        match roles.trusts_service(role, LAMBDA, account, &function) {
            true => Ok(()),
            false => Err(invalid("The role defined for the function cannot be assumed by Lambda.")),
        }
    }
}
