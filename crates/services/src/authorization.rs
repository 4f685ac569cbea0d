//! What a caller may do. Root keys may do everything in their account. Identity policies are not evaluated
//! yet: until they are, sessions of roles may do what [`SESSION_ACTIONS`] lists, in their account, whatever
//! their role's policies say.

use std::sync::Arc;

use lambkin_model::handler::BoxFuture;
use lambkin_model::schema::{Operation, Protocol, Service};
use lambkin_model::{AwsError, Input, Output, Principal, RequestContext, ServiceHandler};
use serde_json::Value;

/// What sessions may do: `SERVICE:OPERATION`, where a `*` at the end stands for any rest. Services are
/// named as in [`Service::name`], those to come included.
pub const SESSION_ACTIONS: &[&str] = &[
    "sts:GetCallerIdentity",
    // The trust policy of the role decides.
    "sts:AssumeRole",
    "lambda:Invoke",
    "lambda:InvokeAsync",
    "lambda:InvokeWithResponseStream",
    "lambda:Get*",
    "lambda:List*",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "logs:Describe*",
    "logs:Get*",
    "logs:Filter*",
    "sqs:*",
    "sns:*",
    "s3:*",
    "events:*",
    "cloudwatch:PutMetricData",
    "cloudwatch:GetMetricData",
    "cloudwatch:GetMetricStatistics",
    "cloudwatch:ListMetrics",
];

/// A service that asks whether its caller may, before it does anything.
pub struct Authorized(Arc<dyn ServiceHandler>);

impl Authorized {
    /// Guards a service.
    #[must_use]
    pub fn new(service: Arc<dyn ServiceHandler>) -> Self {
        Self(service)
    }
}

impl std::fmt::Debug for Authorized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Authorized").field(&self.0.schema().name).finish()
    }
}

impl ServiceHandler for Authorized {
    fn schema(&self) -> &'static Service {
        self.0.schema()
    }

    fn call<'a>(
        &'a self,
        context: &'a RequestContext,
        operation: &'static Operation,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, AwsError>> {
        match authorize(context, self.schema(), operation.name, &input.members) {
            Ok(()) => self.0.call(context, operation, input),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

/// Whether the caller may run an operation.
fn authorize(
    context: &RequestContext,
    service: &Service,
    operation: &str,
    members: &Value,
) -> Result<(), AwsError> {
    match &context.caller.principal {
        Principal::Root | Principal::Anonymous => Ok(()),
        Principal::Session(_) if is_listed(service.name, operation) => Ok(()),
        Principal::Session(_) => Err(denied(context, service, operation, members)),
    }
}

/// Whether [`SESSION_ACTIONS`] has an operation.
fn is_listed(service: &str, operation: &str) -> bool {
    SESSION_ACTIONS.iter().filter_map(|action| action.split_once(':')).any(|(of, pattern)| {
        of == service
            && match pattern.strip_suffix('*') {
                Some(start) => operation.starts_with(start),
                None => operation == pattern,
            }
    })
}

/// AWS's refusal, under the name and with the status that the service's clients know.
fn denied(context: &RequestContext, service: &Service, operation: &str, members: &Value) -> AwsError {
    let speaks = |protocol| service.protocols.contains(&protocol);
    let (code, status) = if speaks(Protocol::Query) || speaks(Protocol::Ec2) || speaks(Protocol::RestXml) {
        ("AccessDenied", 403)
    } else if speaks(Protocol::Json10) || speaks(Protocol::Json11) {
        ("AccessDeniedException", 400)
    } else {
        ("AccessDeniedException", 403)
    };
    let action = action(service, operation);
    let resource = resource(context, service, members);
    // STS alone leaves the reason out.
    let reason = if service.name == "sts" {
        String::new()
    } else {
        format!(" because no identity-based policy allows the {action} action")
    };
    let arn = &context.caller.arn;
    let text = format!("User: {arn} is not authorized to perform: {action} on resource: {resource}{reason}");
    AwsError::new(code, status, text)
}

/// The IAM action of an operation; mostly they have the same name.
fn action(service: &Service, operation: &str) -> String {
    let operation = match (service.name, operation) {
        ("lambda", "Invoke" | "InvokeWithResponseStream") => "InvokeFunction",
        ("lambda", "GetLayerVersionByArn") => "GetLayerVersion",
        (_, operation) => operation,
    };
    format!("{}:{operation}", service.signing_name)
}

/// ARN of what a request is about, as far as its members tell; else `*`.
fn resource(context: &RequestContext, service: &Service, members: &Value) -> String {
    let partition = context.caller.arn.split(':').nth(1).unwrap_or("aws");
    let (region, account) = (&context.region, &context.caller.account);
    let member = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    // A name that is an ARN already is the resource.
    let arn = |kind: &str, name: &str| match name.starts_with("arn:") {
        true => name.to_owned(),
        false => format!("arn:{partition}:{}:{region}:{account}:{kind}:{name}", service.name),
    };
    match service.name {
        "lambda" => {
            let kinds = [
                ("FunctionName", "function"),
                ("LayerName", "layer"),
                ("UUID", "event-source-mapping"),
                ("CodeSigningConfigArn", "code-signing-config"),
                ("Resource", "function"),
                ("ResourceArn", "function"),
            ];
            let found = kinds.iter().find_map(|(name, kind)| Some(arn(kind, member(name)?)));
            match (found, members.get("VersionNumber").and_then(Value::as_i64)) {
                (Some(layer), Some(number)) => format!("{layer}:{number}"),
                (found, _) => found.unwrap_or_else(|| "*".to_owned()),
            }
        }
        "logs" => match member("logGroupName").or_else(|| member("logGroupIdentifier")) {
            Some(group) => {
                let stream = member("logStreamName").unwrap_or_default();
                format!("{}:log-stream:{stream}", arn("log-group", group))
            }
            None => "*".to_owned(),
        },
        "sts" => member("RoleArn").unwrap_or("*").to_owned(),
        "iam" => match (member("RoleName"), member("PolicyArn"), member("PolicyName")) {
            (Some(role), ..) => format!("arn:{partition}:iam::{account}:role/{role}"),
            (None, Some(policy), _) => policy.to_owned(),
            (None, None, Some(policy)) => format!("arn:{partition}:iam::{account}:policy/{policy}"),
            _ => "*".to_owned(),
        },
        _ => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lambkin_model::{Caller, RoleSession, lambda, logs, sts};
    use serde_json::json;

    use super::*;
    use crate::testing::context;

    fn session() -> RequestContext {
        let caller = Caller {
            arn: "arn:aws:sts::000000000000:assumed-role/r/f".to_owned(),
            principal: Principal::Session(RoleSession {
                role_arn: "arn:aws:iam::000000000000:role/r".to_owned(),
                session_name: "f".to_owned(),
                source_function: None,
            }),
            ..Caller::root("000000000000", "ASIAEXAMPLE")
        };
        RequestContext { caller: Arc::new(caller), ..context() }
    }

    fn refusal(service: &Service, operation: &str, members: &Value) -> (String, u16, String) {
        let error = authorize(&session(), service, operation, members).unwrap_err();
        (error.code.into_owned(), error.status, error.message)
    }

    #[test]
    fn root_keys_may_do_everything() {
        assert!(authorize(&context(), &lambda::SERVICE, "CreateFunction", &json!({})).is_ok());
    }

    #[test]
    fn sessions_may_do_what_is_listed() {
        for (service, operation, may) in [
            ("sts", "GetCallerIdentity", true),
            ("sts", "AssumeRole", true),
            ("sts", "GetSessionToken", false),
            ("lambda", "Invoke", true),
            ("lambda", "InvokeAsync", true),
            ("lambda", "InvokeWithResponseStream", true),
            ("lambda", "GetFunction", true),
            ("lambda", "ListFunctions", true),
            ("lambda", "CreateFunction", false),
            ("lambda", "UpdateFunctionCode", false),
            ("lambda", "DeleteFunction", false),
            ("lambda", "AddPermission", false),
            ("lambda", "PutFunctionConcurrency", false),
            ("lambda", "TagResource", false),
            ("logs", "PutLogEvents", true),
            ("logs", "FilterLogEvents", true),
            ("logs", "DescribeLogGroups", true),
            ("logs", "DeleteLogGroup", false),
            ("logs", "PutRetentionPolicy", false),
            ("sqs", "SendMessage", true),
            ("sns", "Publish", true),
            ("s3", "PutObject", true),
            ("events", "PutEvents", true),
            ("cloudwatch", "PutMetricData", true),
            ("cloudwatch", "DeleteAlarms", false),
            ("iam", "GetRole", false),
            ("scheduler", "CreateSchedule", false),
        ] {
            assert_eq!(is_listed(service, operation), may, "{service}:{operation}");
        }
    }

    #[test]
    fn refusals_are_awss() {
        assert_eq!(
            refusal(&lambda::SERVICE, "CreateFunction", &json!({"FunctionName": "g"})),
            (
                "AccessDeniedException".to_owned(),
                403,
                "User: arn:aws:sts::000000000000:assumed-role/r/f is not authorized to perform: \
                 lambda:CreateFunction on resource: arn:aws:lambda:us-east-1:000000000000:function:g because \
                 no identity-based policy allows the lambda:CreateFunction action"
                    .to_owned()
            )
        );
        let (code, status, text) = refusal(&logs::SERVICE, "DeleteLogGroup", &json!({"logGroupName": "/a"}));
        assert_eq!((code.as_str(), status), ("AccessDeniedException", 400));
        assert!(
            text.contains(" arn:aws:logs:us-east-1:000000000000:log-group:/a:log-stream: because"),
            "{text}"
        );
        let role = "arn:aws:iam::000000000000:role/other";
        let members = json!({"RoleArn": role});
        let (code, status, text) = refusal(&sts::SERVICE, "AssumeRoot", &members);
        assert_eq!((code.as_str(), status), ("AccessDenied", 403));
        assert!(text.ends_with(&format!("sts:AssumeRoot on resource: {role}")), "{text}");
        let members = json!({"LayerName": "l", "VersionNumber": 7});
        let (.., text) = refusal(&lambda::SERVICE, "DeleteLayerVersion", &members);
        assert!(text.contains("arn:aws:lambda:us-east-1:000000000000:layer:l:7 because"), "{text}");
        let (.., text) = refusal(&lambda::SERVICE, "CreateEventSourceMapping", &json!({}));
        assert!(text.contains("on resource: * because"), "{text}");
    }
}
