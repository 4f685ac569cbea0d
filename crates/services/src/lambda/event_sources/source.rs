//! Kinds of event sources, by their ARNs, and which parameters each of them takes.

use lambkin_model::AwsError;
use lambkin_model::lambda::CreateEventSourceMappingRequest;

use crate::lambda::faults::invalid;

/// What a mapping reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// An SQS queue.
    Queue {
        fifo: bool,
    },
    Kinesis,
    /// A stream of a DynamoDB table.
    DynamoDb,
    /// Amazon MSK.
    ManagedKafka,
    /// Apache Kafka anywhere, named by its bootstrap servers.
    OwnKafka,
    /// A broker of Amazon MQ.
    Broker,
    DocumentDb,
}

impl Source {
    /// The kind of source that an ARN names.
    pub(super) fn of_arn(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", _, service, region, account, resource] = parts.as_slice() else { return None };
        if region.is_empty() || account.is_empty() {
            return None;
        }
        let named = |start: &str| resource.strip_prefix(start).is_some_and(|name| !name.is_empty());
        let source = match *service {
            "sqs" if !resource.is_empty() && !resource.contains([':', '/']) => {
                Self::Queue { fifo: resource.ends_with(".fifo") }
            }
            "kinesis" if named("stream/") => Self::Kinesis,
            "dynamodb" => match resource.split('/').collect::<Vec<_>>().as_slice() {
                ["table", table, "stream", label] if !table.is_empty() && !label.is_empty() => Self::DynamoDb,
                _ => return None,
            },
            "kafka" if named("cluster/") || named("vpc-connection/") => Self::ManagedKafka,
            "mq" if named("broker:") => Self::Broker,
            "rds" if named("cluster:") => Self::DocumentDb,
            _ => return None,
        };
        Some(source)
    }

    /// Kinesis and DynamoDB.
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::Kinesis | Self::DynamoDb)
    }

    pub(super) fn is_kafka(self) -> bool {
        matches!(self, Self::ManagedKafka | Self::OwnKafka)
    }

    pub(super) fn is_queue(self) -> bool {
        matches!(self, Self::Queue { .. })
    }

    /// Whether reading starts at a position, which a mapping must name.
    pub(super) fn has_position(self) -> bool {
        self.is_stream() || self.is_kafka() || self == Self::DocumentDb
    }

    /// Name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queue { .. } => "SQS",
            Self::Kinesis => "Kinesis",
            Self::DynamoDb => "DynamoDB Streams",
            Self::ManagedKafka => "Amazon MSK",
            Self::OwnKafka => "self-managed Apache Kafka",
            Self::Broker => "Amazon MQ",
            Self::DocumentDb => "DocumentDB",
        }
    }

    /// Refuses parameters that this kind of source does not have. Those that are empty count as not given.
    ///
    /// # Errors
    /// AWS's `InvalidParameterValueException` that names the parameter.
    pub(super) fn check_parameters(self, asked: &CreateEventSourceMappingRequest) -> Result<(), AwsError> {
        let filled = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let (stream, kafka, queue) = (self.is_stream(), self.is_kafka(), self.is_queue());
        let retries = stream || kafka;
        if queue && (asked.starting_position.is_some() || asked.starting_position_timestamp.is_some()) {
            return Err(invalid("StartingPosition is not valid for SQS event sources."));
        }
        let filters = asked.filter_criteria.as_ref().and_then(|criteria| criteria.filters.as_ref());
        let destinations = asked.destination_config.as_ref().is_some_and(|destinations| {
            let failure = destinations.on_failure.as_ref().and_then(|to| to.destination.as_deref());
            let success = destinations.on_success.as_ref().and_then(|to| to.destination.as_deref());
            failure.or(success).is_some_and(|destination| !destination.is_empty())
        });
        let metrics = asked.metrics_config.as_ref().is_some_and(|config| filled(&config.metrics));
        let scaling = asked.scaling_config.as_ref().and_then(|config| config.maximum_concurrency);
        let logging = asked.logging_config.as_ref().and_then(|config| config.system_log_level.as_ref());
        let pollers = asked.provisioned_poller_config.as_ref().is_some_and(|config| {
            config.minimum_pollers.is_some()
                || config.maximum_pollers.is_some()
                || config.poller_group_name.is_some()
        });
        let access = asked.source_access_configurations.as_ref().is_some_and(|list| !list.is_empty());
        let given = [
            ("startingPosition", asked.starting_position.is_some(), self.has_position()),
            ("startingPositionTimestamp", asked.starting_position_timestamp.is_some(), self.has_position()),
            ("filterCriteria", filters.is_some_and(|filters| !filters.is_empty()), self != Self::DocumentDb),
            ("metricsConfig", metrics, stream || kafka || queue),
            ("loggingConfig", logging.is_some(), kafka),
            ("scalingConfig", scaling.is_some(), queue),
            ("parallelizationFactor", asked.parallelization_factor.is_some(), stream),
            ("destinationConfig", destinations, retries),
            ("maximumRecordAgeInSeconds", asked.maximum_record_age_in_seconds.is_some(), retries),
            ("bisectBatchOnFunctionError", asked.bisect_batch_on_function_error.is_some(), retries),
            ("maximumRetryAttempts", asked.maximum_retry_attempts.is_some(), retries),
            ("tumblingWindowInSeconds", asked.tumbling_window_in_seconds.is_some(), stream),
            ("topics", filled(&asked.topics), kafka),
            ("queues", filled(&asked.queues), self == Self::Broker),
            ("sourceAccessConfigurations", access, !queue && !stream),
            ("functionResponseTypes", filled(&asked.function_response_types), retries || queue),
            (
                "amazonManagedKafkaEventSourceConfig",
                asked.amazon_managed_kafka_event_source_config.is_some(),
                self == Self::ManagedKafka,
            ),
            (
                "selfManagedKafkaEventSourceConfig",
                asked.self_managed_kafka_event_source_config.is_some(),
                self == Self::OwnKafka,
            ),
            (
                "documentDBEventSourceConfig",
                asked.document_db_event_source_config.is_some(),
                self == Self::DocumentDb,
            ),
            ("provisionedPollerConfig", pollers, kafka || queue),
        ];
        match given.iter().find(|(_, given, allowed)| *given && !allowed) {
            Some((name, ..)) => Err(unsupported_parameter(name)),
            None => Ok(()),
        }
    }
}

/// AWS's refusal of a parameter that a kind of source does not have.
pub(super) fn unsupported_parameter(name: &str) -> AwsError {
    invalid(format!("Unsupported '{name}' parameter for given event source mapping type."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_known_by_their_arns() {
        let of = |rest: &str| Source::of_arn(&format!("arn:aws:{rest}"));
        for (rest, source) in [
            ("sqs:us-east-1:000000000000:q", Source::Queue { fifo: false }),
            ("sqs:us-east-1:000000000000:q.fifo", Source::Queue { fifo: true }),
            ("kinesis:us-east-1:000000000000:stream/s", Source::Kinesis),
            ("kinesis:us-east-1:000000000000:stream/s/consumer/c:1", Source::Kinesis),
            ("dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000", Source::DynamoDb),
            ("kafka:us-east-1:000000000000:cluster/c/uuid-1", Source::ManagedKafka),
            ("kafka:us-east-1:000000000000:vpc-connection/000000000000/c/uuid-1", Source::ManagedKafka),
            ("mq:us-east-1:000000000000:broker:b:b-1", Source::Broker),
            ("rds:us-east-1:000000000000:cluster:docs", Source::DocumentDb),
        ] {
            assert_eq!(of(rest), Some(source), "{rest}");
        }
        for rest in [
            "sqs:::q",
            "sqs:us-east-1:000000000000:",
            "sns:us-east-1:000000000000:t",
            "s3:::bucket",
            "dynamodb:us-east-1:000000000000:table/t",
            "kinesis:us-east-1:000000000000:stream/",
            "rds:us-east-1:000000000000:db:x",
        ] {
            assert_eq!(of(rest), None, "{rest}");
        }
        assert_eq!(Source::of_arn("q"), None);
    }
}
