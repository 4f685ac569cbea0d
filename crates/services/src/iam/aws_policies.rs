//! AWS's own managed policies that roles of functions use, after AWS's public documentation. Where AWS lists
//! hundreds of actions, those of services that functions commonly use stand for all.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::names;

/// When they are said to have been made: AWS made most of them on this day, 2015-02-06.
pub(super) const CREATED_MS: i64 = 1_423_247_986_000;

/// A managed policy of AWS.
#[derive(Debug)]
pub(super) struct AwsPolicy {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    grants: &'static [Grant],
}

/// A statement that allows.
#[derive(Debug)]
struct Grant {
    actions: &'static [&'static str],
    /// Whether all actions but these are meant.
    all_but: bool,
    resource: &'static str,
    /// Key and value of a `StringEquals`.
    when: Option<(&'static str, &'static str)>,
}

const fn grant(actions: &'static [&'static str], resource: &'static str) -> Grant {
    Grant { actions, all_but: false, resource, when: None }
}

/// Every one, by path and name.
pub(super) fn all() -> &'static [AwsPolicy] {
    POLICIES
}

/// The one of a path and name.
pub(super) fn find(path: &str, name: &str) -> Option<&'static AwsPolicy> {
    POLICIES.iter().find(|policy| policy.path == path && policy.name == name)
}

impl AwsPolicy {
    /// A unique id, the same on every server.
    pub(super) fn id(&self) -> String {
        names::to_id("ANPA", digest(&SHA256, self.name.as_bytes()).as_ref())
    }

    /// The document.
    pub(super) fn document(&self) -> String {
        let statements: Vec<Value> = self.grants.iter().map(Grant::statement).collect();
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    }
}

impl Grant {
    fn statement(&self) -> Value {
        let actions = if self.all_but { "NotAction" } else { "Action" };
        let mut statement = json!({"Effect": "Allow", actions: self.actions, "Resource": self.resource});
        if let (Some((key, value)), Some(members)) = (self.when, statement.as_object_mut()) {
            members.insert("Condition".to_owned(), json!({"StringEquals": {key: value}}));
        }
        statement
    }
}

#[rustfmt::skip]
const POLICIES: &[AwsPolicy] = &[
    AwsPolicy { path: "/", name: "AWSLambdaExecute", description:
        "Access to S3 objects and to CloudWatch Logs.", grants: &[grant(&["logs:*"], "arn:aws:logs:*:*:*"),
        grant(&["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::*")] },
    AwsPolicy { path: "/", name: "AWSLambdaInvocation-DynamoDB", description:
        "Read access to DynamoDB streams, and invoking functions.", grants: &[grant(&["lambda:InvokeFunction"],
        "*"), grant(&["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator",
        "dynamodb:ListStreams"], "*")] },
    AwsPolicy { path: "/", name: "AWSLambda_FullAccess", description:
        "Full access to Lambda, its console features and what they read.", grants:
        &[grant(&["cloudformation:DescribeStacks", "cloudformation:ListStackResources",
        "cloudwatch:ListMetrics", "cloudwatch:GetMetricData", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets", "ec2:DescribeVpcs", "kms:ListAliases", "iam:GetPolicy", "iam:GetPolicyVersion",
        "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies",
        "iam:ListRoles", "lambda:*", "logs:DescribeLogGroups", "states:DescribeStateMachine",
        "states:ListStateMachines", "tag:GetResources", "xray:GetTraceSummaries", "xray:BatchGetTraces"], "*"),
        Grant { when: Some(("iam:PassedToService", "lambda.amazonaws.com")), ..grant(&["iam:PassRole"], "*") },
        grant(&["logs:DescribeLogStreams", "logs:GetLogEvents", "logs:FilterLogEvents"],
        "arn:aws:logs:*:*:log-group:/aws/lambda/*")] },
    AwsPolicy { path: "/", name: "AWSLambda_ReadOnlyAccess", description:
        "Read access to Lambda, its console features and what they read.", grants:
        &[grant(&["cloudformation:DescribeStacks", "cloudformation:ListStackResources",
        "cloudwatch:ListMetrics", "cloudwatch:GetMetricData", "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets", "ec2:DescribeVpcs", "kms:ListAliases", "iam:GetPolicy", "iam:GetPolicyVersion",
        "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies",
        "iam:ListRoles", "lambda:Get*", "lambda:List*", "logs:DescribeLogGroups", "states:DescribeStateMachine",
        "states:ListStateMachines", "tag:GetResources", "xray:GetTraceSummaries", "xray:BatchGetTraces"], "*"),
        grant(&["logs:DescribeLogStreams", "logs:GetLogEvents", "logs:FilterLogEvents"],
        "arn:aws:logs:*:*:log-group:/aws/lambda/*")] },
    AwsPolicy { path: "/", name: "AWSStepFunctionsFullAccess", description: "Full access to Step Functions.",
        grants: &[grant(&["states:*"], "*")] },
    AwsPolicy { path: "/", name: "AWSXRayDaemonWriteAccess", description:
        "Lets the X-Ray daemon relay trace segments and read sampling rules.", grants:
        &[grant(&["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules",
        "xray:GetSamplingTargets", "xray:GetSamplingStatisticSummaries"], "*")] },
    AwsPolicy { path: "/", name: "AWSXrayReadOnlyAccess", description: "Read access to X-Ray.", grants:
        &[grant(&["xray:BatchGet*", "xray:Get*", "xray:List*"], "*")] },
    AwsPolicy { path: "/", name: "AWSXrayWriteOnlyAccess", description: "Write access to X-Ray.", grants:
        &[grant(&["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules",
        "xray:GetSamplingTargets", "xray:GetSamplingStatisticSummaries"], "*")] },
    AwsPolicy { path: "/", name: "AdministratorAccess", description:
        "Full access to all services and resources.", grants: &[grant(&["*"], "*")] },
    AwsPolicy { path: "/", name: "AmazonAPIGatewayAdministrator", description:
        "Full access to create, edit and delete APIs.", grants: &[grant(&["apigateway:*"],
        "arn:aws:apigateway:*::/*")] },
    AwsPolicy { path: "/", name: "AmazonAPIGatewayInvokeFullAccess", description: "Full access to invoke APIs.",
        grants: &[grant(&["execute-api:Invoke", "execute-api:ManageConnections"], "arn:aws:execute-api:*:*:*")]
        },
    AwsPolicy { path: "/", name: "AmazonDynamoDBFullAccess", description: "Full access to DynamoDB.", grants:
        &[grant(&["dynamodb:*", "dax:*", "application-autoscaling:DeleteScalingPolicy",
        "application-autoscaling:DeregisterScalableTarget", "application-autoscaling:DescribeScalableTargets",
        "application-autoscaling:DescribeScalingPolicies", "application-autoscaling:PutScalingPolicy",
        "application-autoscaling:RegisterScalableTarget", "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricStatistics", "cloudwatch:PutMetricAlarm", "kms:DescribeKey", "kms:ListAliases",
        "lambda:CreateFunction", "lambda:ListFunctions", "lambda:ListEventSourceMappings",
        "lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping", "lambda:GetFunctionConfiguration",
        "lambda:DeleteFunction"], "*")] },
    AwsPolicy { path: "/", name: "AmazonDynamoDBReadOnlyAccess", description: "Read access to DynamoDB.",
        grants: &[grant(&["dynamodb:BatchGetItem", "dynamodb:Describe*", "dynamodb:GetItem",
        "dynamodb:GetResourcePolicy", "dynamodb:List*", "dynamodb:PartiQLSelect", "dynamodb:Query",
        "dynamodb:Scan", "dax:Describe*", "dax:List*", "dax:GetItem", "dax:BatchGetItem", "dax:Query",
        "dax:Scan"], "*")] },
    AwsPolicy { path: "/", name: "AmazonEventBridgeFullAccess", description: "Full access to EventBridge.",
        grants: &[grant(&["events:*", "schemas:*", "scheduler:*", "pipes:*"], "*"), Grant { when:
        Some(("iam:PassedToService", "events.amazonaws.com")), ..grant(&["iam:PassRole"], "*") }] },
    AwsPolicy { path: "/", name: "AmazonKinesisFullAccess", description: "Full access to all streams.", grants:
        &[grant(&["kinesis:*"], "*")] },
    AwsPolicy { path: "/", name: "AmazonKinesisReadOnlyAccess", description: "Read access to all streams.",
        grants: &[grant(&["kinesis:Get*", "kinesis:List*", "kinesis:Describe*"], "*")] },
    AwsPolicy { path: "/", name: "AmazonS3FullAccess", description: "Full access to all buckets.", grants:
        &[grant(&["s3:*", "s3-object-lambda:*"], "*")] },
    AwsPolicy { path: "/", name: "AmazonS3ReadOnlyAccess", description: "Read access to all buckets.", grants:
        &[grant(&["s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"],
        "*")] },
    AwsPolicy { path: "/", name: "AmazonSNSFullAccess", description: "Full access to SNS.", grants:
        &[grant(&["sns:*"], "*")] },
    AwsPolicy { path: "/", name: "AmazonSNSReadOnlyAccess", description: "Read access to SNS.", grants:
        &[grant(&["sns:GetTopicAttributes", "sns:List*", "sns:CheckIfPhoneNumberIsOptedOut",
        "sns:GetEndpointAttributes", "sns:GetDataProtectionPolicy", "sns:GetPlatformApplicationAttributes",
        "sns:GetSMSAttributes", "sns:GetSMSSandboxAccountStatus", "sns:GetSubscriptionAttributes"], "*")] },
    AwsPolicy { path: "/", name: "AmazonSQSFullAccess", description: "Full access to SQS.", grants:
        &[grant(&["sqs:*"], "*")] },
    AwsPolicy { path: "/", name: "AmazonSQSReadOnlyAccess", description: "Read access to SQS.", grants:
        &[grant(&["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListDeadLetterSourceQueues",
        "sqs:ListQueues", "sqs:ListMessageMoveTasks", "sqs:ListQueueTags"], "*")] },
    AwsPolicy { path: "/", name: "AmazonSSMReadOnlyAccess", description: "Read access to Systems Manager.",
        grants: &[grant(&["ssm:Describe*", "ssm:Get*", "ssm:List*", "cloudwatch:DescribeAlarms"], "*")] },
    AwsPolicy { path: "/", name: "CloudWatchFullAccess", description: "Full access to CloudWatch.", grants:
        &[grant(&["cloudwatch:*", "logs:*", "sns:*", "autoscaling:Describe*", "iam:GetPolicy",
        "iam:GetPolicyVersion", "iam:GetRole"], "*")] },
    AwsPolicy { path: "/", name: "CloudWatchLambdaInsightsExecutionRolePolicy", description:
        "Lets the Lambda Insights extension write its logs.", grants: &[grant(&["logs:CreateLogGroup"], "*"),
        grant(&["logs:CreateLogStream", "logs:PutLogEvents"],
        "arn:aws:logs:*:*:log-group:/aws/lambda-insights:*")] },
    AwsPolicy { path: "/", name: "CloudWatchLogsFullAccess", description: "Full access to CloudWatch Logs.",
        grants: &[grant(&["logs:*", "cloudwatch:GenerateQuery"], "*")] },
    AwsPolicy { path: "/", name: "CloudWatchLogsReadOnlyAccess", description: "Read access to CloudWatch Logs.",
        grants: &[grant(&["logs:Describe*", "logs:Get*", "logs:List*", "logs:StartQuery", "logs:StopQuery",
        "logs:TestMetricFilter", "logs:FilterLogEvents", "logs:StartLiveTail", "logs:StopLiveTail",
        "cloudwatch:GenerateQuery"], "*")] },
    AwsPolicy { path: "/", name: "CloudWatchReadOnlyAccess", description: "Read access to CloudWatch.", grants:
        &[grant(&["cloudwatch:BatchGet*", "cloudwatch:Describe*", "cloudwatch:GenerateQuery", "cloudwatch:Get*",
        "cloudwatch:List*", "logs:Describe*", "logs:FilterLogEvents", "logs:Get*", "logs:List*",
        "logs:StartLiveTail", "logs:StartQuery", "logs:StopLiveTail", "logs:StopQuery", "logs:TestMetricFilter",
        "sns:Get*", "sns:List*", "autoscaling:Describe*"], "*")] },
    AwsPolicy { path: "/", name: "IAMFullAccess", description: "Full access to IAM.", grants: &[grant(&["iam:*",
        "organizations:DescribeAccount", "organizations:DescribeOrganization",
        "organizations:DescribeOrganizationalUnit", "organizations:DescribePolicy",
        "organizations:ListChildren", "organizations:ListParents", "organizations:ListPolicies",
        "organizations:ListPoliciesForTarget", "organizations:ListRoots", "organizations:ListTargetsForPolicy"],
        "*")] },
    AwsPolicy { path: "/", name: "IAMReadOnlyAccess", description: "Read access to IAM.", grants:
        &[grant(&["iam:GenerateCredentialReport", "iam:GenerateServiceLastAccessedDetails", "iam:Get*",
        "iam:List*", "iam:SimulateCustomPolicy", "iam:SimulatePrincipalPolicy"], "*")] },
    AwsPolicy { path: "/", name: "PowerUserAccess", description:
        "Full access to all services and resources, but for the management of users and groups.", grants:
        &[Grant { all_but: true, ..grant(&["iam:*", "organizations:*", "account:*"], "*") },
        grant(&["account:GetAccountInformation", "account:GetPrimaryEmail", "account:ListRegions",
        "iam:CreateServiceLinkedRole", "iam:DeleteServiceLinkedRole", "iam:ListRoles",
        "organizations:DescribeEffectivePolicy", "organizations:DescribeOrganization"], "*")] },
    AwsPolicy { path: "/", name: "ReadOnlyAccess", description: "Read access to services and resources.",
        grants: &[grant(&["apigateway:GET", "cloudformation:Describe*", "cloudformation:Get*",
        "cloudformation:List*", "cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*",
        "dynamodb:BatchGet*", "dynamodb:Describe*", "dynamodb:Get*", "dynamodb:List*", "dynamodb:PartiQLSelect",
        "dynamodb:Query", "dynamodb:Scan", "ec2:Describe*", "ec2:Get*", "ec2:List*", "ec2:Search*",
        "ecr:BatchCheck*", "ecr:BatchGet*", "ecr:Describe*", "ecr:Get*", "ecr:List*", "events:Describe*",
        "events:List*", "events:Test*", "iam:Generate*", "iam:Get*", "iam:List*", "iam:Simulate*",
        "kinesis:Describe*", "kinesis:Get*", "kinesis:List*", "kms:Describe*", "kms:Get*", "kms:List*",
        "lambda:Get*", "lambda:List*", "logs:Describe*", "logs:FilterLogEvents", "logs:Get*", "logs:List*",
        "logs:StartQuery", "logs:StopQuery", "logs:TestMetricFilter", "pipes:Describe*", "pipes:List*",
        "rds:Describe*", "rds:Download*", "rds:List*", "route53:Get*", "route53:List*", "route53:Test*",
        "s3:Get*", "s3:List*", "scheduler:Get*", "scheduler:List*", "sns:Check*", "sns:Get*", "sns:List*",
        "sqs:Get*", "sqs:List*", "sqs:Receive*", "ssm:Describe*", "ssm:Get*", "ssm:List*", "states:Describe*",
        "states:GetExecutionHistory", "states:List*", "states:ValidateStateMachineDefinition", "tag:Get*",
        "xray:BatchGet*", "xray:Get*", "sts:GetAccessKeyInfo", "sts:GetCallerIdentity", "sts:GetSessionToken"],
        "*")] },
    AwsPolicy { path: "/", name: "SecretsManagerReadWrite", description:
        "Read and write access to Secrets Manager.", grants: &[grant(&["secretsmanager:*", "kms:DescribeKey",
        "kms:ListAliases", "kms:ListKeys", "lambda:ListFunctions", "rds:DescribeDBClusters",
        "rds:DescribeDBInstances", "tag:GetResources"], "*")] },
    AwsPolicy { path: "/service-role/", name: "AWSLambdaBasicExecutionRole", description:
        "Write permissions to CloudWatch Logs.", grants: &[grant(&["logs:CreateLogGroup",
        "logs:CreateLogStream", "logs:PutLogEvents"], "*")] },
    AwsPolicy { path: "/service-role/", name: "AWSLambdaDynamoDBExecutionRole", description:
        "List and read access to DynamoDB streams, and write permissions to CloudWatch Logs.", grants:
        &[grant(&["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator",
        "dynamodb:ListStreams", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "*")] },
    AwsPolicy { path: "/service-role/", name: "AWSLambdaENIManagementAccess", description:
        "Minimum permissions to manage the network interfaces of a function in a VPC.", grants:
        &[grant(&["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"], "*")]
        },
    AwsPolicy { path: "/service-role/", name: "AWSLambdaKinesisExecutionRole", description:
        "List and read access to Kinesis streams, and write permissions to CloudWatch Logs.", grants:
        &[grant(&["kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:GetRecords",
        "kinesis:GetShardIterator", "kinesis:ListShards", "kinesis:ListStreams", "kinesis:SubscribeToShard",
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "*")] },
    AwsPolicy { path: "/service-role/", name: "AWSLambdaMSKExecutionRole", description:
        "Access to MSK clusters and network interfaces, and write permissions to CloudWatch Logs.", grants:
        &[grant(&["kafka:DescribeCluster", "kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers",
        "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs",
        "ec2:DeleteNetworkInterface", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups",
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "*")] },
    AwsPolicy { path: "/service-role/", name: "AWSLambdaRole", description:
        "Default policy of the Lambda service role: invoking functions.", grants:
        &[grant(&["lambda:InvokeFunction"], "*")] },
    AwsPolicy { path: "/service-role/", name: "AWSLambdaSQSQueueExecutionRole", description:
        "Receive, delete and attribute read access to SQS queues, and write permissions to CloudWatch Logs.",
        grants: &[grant(&["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes",
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "*")] },
    AwsPolicy { path: "/service-role/", name: "AWSLambdaVPCAccessExecutionRole", description:
        "Minimum permissions for a function in a VPC: network interfaces, and write permissions to CloudWatch Logs.",
        grants: &[grant(&["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents",
        "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"], "*")]
        },
    AwsPolicy { path: "/service-role/", name: "AmazonAPIGatewayPushToCloudWatchLogs", description:
        "Lets API Gateway push logs to the account.", grants: &[grant(&["logs:CreateLogGroup",
        "logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents",
        "logs:GetLogEvents", "logs:FilterLogEvents"], "*")] },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::iam::document;

    #[test]
    fn every_document_keeps_the_rules() {
        for policy in all() {
            document::managed(&policy.document()).unwrap();
        }
    }

    #[test]
    fn names_and_ids_are_unique() {
        let names: BTreeSet<_> = all().iter().map(|policy| policy.name).collect();
        let ids: BTreeSet<_> = all().iter().map(AwsPolicy::id).collect();
        assert_eq!((names.len(), ids.len()), (all().len(), all().len()));
        assert!(find("/service-role/", "AWSLambdaBasicExecutionRole").is_some());
        assert!(find("/", "AWSLambdaBasicExecutionRole").is_none());
    }
}
