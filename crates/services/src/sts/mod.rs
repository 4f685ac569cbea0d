//! AWS STS: who the caller is.

use lambkin_model::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse, Sts};
use lambkin_model::{AwsError, RequestContext};

/// The STS service. Give it to `lambkin_model::sts::Handler`.
#[derive(Debug, Clone, Copy, Default)]
pub struct StsService;

impl Sts for StsService {
    async fn get_caller_identity(
        &self,
        context: &RequestContext,
        _: GetCallerIdentityRequest,
    ) -> Result<GetCallerIdentityResponse, AwsError> {
        let caller = &context.caller;
        Ok(GetCallerIdentityResponse {
            user_id: Some(caller.user_id.clone()),
            account: Some(caller.account.to_string()),
            arn: Some(caller.arn.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;

    #[tokio::test]
    async fn says_who_called() {
        let answer =
            StsService.get_caller_identity(&context(), GetCallerIdentityRequest::default()).await.unwrap();
        assert_eq!(answer.account.as_deref(), Some("000000000000"));
        assert_eq!(answer.arn.as_deref(), Some("arn:aws:iam::000000000000:root"));
        assert_eq!(answer.user_id.as_deref(), Some("000000000000"));
    }
}
