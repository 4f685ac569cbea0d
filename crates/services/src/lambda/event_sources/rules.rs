//! From what a request asks for to the settings of a mapping: defaults and AWS's rules beyond the model's
//! constraints.

use lambkin_core::event_pattern::{Dialect, Pattern};
use lambkin_model::AwsError;
use lambkin_model::lambda::{
    AmazonManagedKafkaEventSourceConfig, CreateEventSourceMappingRequest, DestinationConfig,
    EventSourceMappingConfiguration, FilterCriteria, KafkaSchemaRegistryConfig, OnFailure,
    ProvisionedPollerConfig, SelfManagedKafkaEventSourceConfig,
};

use super::access;
use super::source::{Source, unsupported_parameter};
use crate::lambda::faults::{invalid, unsupported};

/// What a mapping is set to: the members of the API's form that requests set, and `FunctionArn`.
pub(super) type Settings = EventSourceMappingConfiguration;

/// Most filters of a mapping (AWS quota).
const MAX_FILTERS: usize = 5;

/// Largest batch that SQS delivers without a window, and from FIFO queues at all.
const MAX_QUEUE_BATCH: i32 = 10;

/// Most pollers of a Kafka source.
const MAX_KAFKA_POLLERS: i32 = 2000;

/// Pollers that a source may have where MaximumPollers does not say.
const DEFAULT_POLLERS: i32 = 200;

/// The kind of source that a request names.
///
/// # Errors
/// No source, two of them, or none that Lambda reads from.
pub(super) fn source_of(asked: &CreateEventSourceMappingRequest, region: &str) -> Result<Source, AwsError> {
    match (&asked.event_source_arn, &asked.self_managed_event_source) {
        (None, None) => Err(invalid("Unrecognized event source.")),
        (Some(_), Some(_)) => Err(invalid("EventSourceArn and SelfManagedEventSource cannot both be set.")),
        (None, Some(cluster)) => match &cluster.endpoints {
            Some(endpoints) if !endpoints.is_empty() => Ok(Source::OwnKafka),
            _ => Err(invalid("SelfManagedEventSource needs Endpoints with KAFKA_BOOTSTRAP_SERVERS.")),
        },
        (Some(arn), None) => {
            let source = Source::of_arn(arn).ok_or_else(|| invalid("Unrecognized event source."))?;
            match arn.split(':').nth(3) {
                Some(of) if of == region => Ok(source),
                _ => Err(invalid(format!("The event source {arn} is not in the region {region}."))),
            }
        }
    }
}

/// The kind of source of a mapping.
pub(super) fn source_of_settings(settings: &Settings) -> Option<Source> {
    match &settings.event_source_arn {
        Some(arn) => Source::of_arn(arn),
        None => Some(Source::OwnKafka),
    }
}

/// Settings of a new mapping. `FunctionArn` is left to the caller.
///
/// # Errors
/// What a rule of AWS forbids or Lambkin does not have.
pub(super) fn create(
    asked: &CreateEventSourceMappingRequest,
    source: Source,
    uuid: &str,
    now_ms: i64,
) -> Result<Settings, AwsError> {
    source.check_parameters(asked)?;
    let mut settings = defaults(source, uuid);
    settings.event_source_arn.clone_from(&asked.event_source_arn);
    settings.self_managed_event_source.clone_from(&asked.self_managed_event_source);
    settings.starting_position.clone_from(&asked.starting_position);
    settings.starting_position_timestamp = asked.starting_position_timestamp;
    settings.topics = asked.topics.clone().filter(|topics| !topics.is_empty());
    settings.queues = asked.queues.clone().filter(|queues| !queues.is_empty());
    settings.source_access_configurations.clone_from(&asked.source_access_configurations);
    if let Some(asked) = &asked.amazon_managed_kafka_event_source_config {
        settings.amazon_managed_kafka_event_source_config = Some(AmazonManagedKafkaEventSourceConfig {
            consumer_group_id: asked.consumer_group_id.clone().or_else(|| Some(uuid.to_owned())),
            schema_registry_config: asked.schema_registry_config.clone(),
        });
    }
    if let Some(asked) = &asked.self_managed_kafka_event_source_config {
        settings.self_managed_kafka_event_source_config = Some(SelfManagedKafkaEventSourceConfig {
            consumer_group_id: asked.consumer_group_id.clone().or_else(|| Some(uuid.to_owned())),
            schema_registry_config: asked.schema_registry_config.clone(),
            consumption_mode: asked.consumption_mode.clone(),
        });
    }
    if consumes_a_queue(&settings) {
        settings.maximum_retry_attempts = Some(0);
    }
    lay_over(&mut settings, asked, source)?;
    check_position(&settings, source, now_ms)?;
    check(&settings, source)?;
    Ok(settings)
}

/// The settings after an update; what the request does not name stays.
///
/// # Errors
/// What a rule of AWS forbids or Lambkin does not have.
pub(super) fn update(
    present: &Settings,
    asked: &CreateEventSourceMappingRequest,
    source: Source,
) -> Result<Settings, AwsError> {
    source.check_parameters(asked)?;
    let mut settings = present.clone();
    if let (Some(asked), Some(config)) = (
        &asked.amazon_managed_kafka_event_source_config,
        &mut settings.amazon_managed_kafka_event_source_config,
    ) {
        keep(&config.consumer_group_id, &asked.consumer_group_id, "ConsumerGroupId")?;
        config.schema_registry_config.clone_from(&asked.schema_registry_config);
    }
    if let (Some(asked), Some(config)) =
        (&asked.self_managed_kafka_event_source_config, &mut settings.self_managed_kafka_event_source_config)
    {
        keep(&config.consumer_group_id, &asked.consumer_group_id, "ConsumerGroupId")?;
        let mode = config.consumption_mode.clone().or_else(|| Some("Stream".to_owned()));
        keep(&mode, &asked.consumption_mode, "ConsumptionMode")?;
        config.schema_registry_config.clone_from(&asked.schema_registry_config);
    }
    if let Some(asked) = &asked.source_access_configurations {
        let present = settings.source_access_configurations.take().unwrap_or_default();
        settings.source_access_configurations = Some(access::replace(present, asked)?);
    }
    lay_over(&mut settings, asked, source)?;
    check(&settings, source)?;
    Ok(settings)
}

/// What AWS shows of a mapping for which nothing was asked.
fn defaults(source: Source, uuid: &str) -> Settings {
    let mut settings = Settings { batch_size: Some(100), ..Settings::default() };
    if !source.is_queue() {
        settings.last_processing_result = Some("No records processed".to_owned());
    }
    if source.is_stream() || source.is_kafka() {
        settings.destination_config = Some(without_destination());
    }
    let consumer_group_id = Some(uuid.to_owned());
    match source {
        Source::Queue { .. } => {
            settings.batch_size = Some(10);
            settings.maximum_batching_window_in_seconds = Some(0);
            settings.function_response_types = Some(Vec::new());
        }
        Source::Kinesis | Source::DynamoDb => {
            settings.maximum_batching_window_in_seconds = Some(0);
            settings.parallelization_factor = Some(1);
            settings.maximum_record_age_in_seconds = Some(-1);
            settings.bisect_batch_on_function_error = Some(false);
            settings.maximum_retry_attempts = Some(-1);
            settings.tumbling_window_in_seconds = Some(0);
            settings.function_response_types = Some(Vec::new());
        }
        Source::ManagedKafka => {
            settings.amazon_managed_kafka_event_source_config =
                Some(AmazonManagedKafkaEventSourceConfig { consumer_group_id, ..Default::default() });
        }
        Source::OwnKafka => {
            settings.self_managed_kafka_event_source_config =
                Some(SelfManagedKafkaEventSourceConfig { consumer_group_id, ..Default::default() });
        }
        Source::Broker | Source::DocumentDb => {}
    }
    settings
}

fn without_destination() -> DestinationConfig {
    DestinationConfig { on_success: None, on_failure: Some(OnFailure { destination: None }) }
}

/// Whether a Kafka topic is consumed by a share group.
fn consumes_a_queue(settings: &Settings) -> bool {
    let config = settings.self_managed_kafka_event_source_config.as_ref();
    config.and_then(|config| config.consumption_mode.as_deref()) == Some("Queue")
}

/// Refuses another value of what cannot be changed.
fn keep(present: &Option<String>, asked: &Option<String>, name: &str) -> Result<(), AwsError> {
    match asked {
        Some(asked) if Some(asked) != present.as_ref() => {
            Err(invalid(format!("{name} cannot be changed after the event source mapping was created.")))
        }
        _ => Ok(()),
    }
}

/// Lays what creation and update have in common over settings. What is given and empty is taken away.
fn lay_over(
    settings: &mut Settings,
    asked: &CreateEventSourceMappingRequest,
    source: Source,
) -> Result<(), AwsError> {
    if asked.kms_key_arn.as_ref().is_some_and(|key| !key.is_empty()) {
        return Err(unsupported("KMSKeyArn"));
    }
    set(&mut settings.batch_size, asked.batch_size);
    set(&mut settings.maximum_batching_window_in_seconds, asked.maximum_batching_window_in_seconds);
    set(&mut settings.parallelization_factor, asked.parallelization_factor);
    set(&mut settings.maximum_record_age_in_seconds, asked.maximum_record_age_in_seconds);
    set(&mut settings.bisect_batch_on_function_error, asked.bisect_batch_on_function_error);
    set(&mut settings.maximum_retry_attempts, asked.maximum_retry_attempts);
    set(&mut settings.tumbling_window_in_seconds, asked.tumbling_window_in_seconds);
    if asked.function_response_types.is_some() && (!matches!(source, Source::Broker | Source::DocumentDb)) {
        settings.function_response_types.clone_from(&asked.function_response_types);
    }
    if let Some(criteria) = &asked.filter_criteria {
        let filters = criteria.filters.clone().filter(|filters| !filters.is_empty());
        settings.filter_criteria = filters.map(|filters| FilterCriteria { filters: Some(filters) });
    }
    if let Some(config) = &asked.metrics_config {
        let is_empty = config.metrics.as_ref().is_none_or(Vec::is_empty);
        settings.metrics_config = (!is_empty).then(|| config.clone());
    }
    if let Some(config) = &asked.logging_config {
        settings.logging_config = config.system_log_level.is_some().then(|| config.clone());
    }
    if let Some(config) = &asked.scaling_config {
        settings.scaling_config = config.maximum_concurrency.is_some().then(|| config.clone());
    }
    if let Some(config) = &asked.destination_config
        && settings.destination_config.is_some()
    {
        let given = |arn: &Option<String>| arn.clone().filter(|arn| !arn.is_empty());
        if config.on_success.as_ref().is_some_and(|to| given(&to.destination).is_some()) {
            return Err(unsupported_parameter("onSuccess"));
        }
        let destination = config.on_failure.as_ref().and_then(|to| given(&to.destination));
        settings.destination_config =
            Some(DestinationConfig { on_success: None, on_failure: Some(OnFailure { destination }) });
    }
    if let Some(config) = &asked.document_db_event_source_config {
        let mut config = config.clone();
        config.full_document.get_or_insert_with(|| "Default".to_owned());
        settings.document_db_event_source_config = Some(config);
    }
    if let Some(config) = &asked.provisioned_poller_config {
        settings.provisioned_poller_config = pollers(config, source);
    }
    Ok(())
}

fn set<T>(setting: &mut Option<T>, asked: Option<T>) {
    if asked.is_some() {
        *setting = asked;
    }
}

/// Pollers with AWS's defaults; none where the configuration is empty.
fn pollers(asked: &ProvisionedPollerConfig, source: Source) -> Option<ProvisionedPollerConfig> {
    let group = asked.poller_group_name.clone().filter(|name| !name.is_empty());
    if asked.minimum_pollers.is_none() && asked.maximum_pollers.is_none() && group.is_none() {
        return None;
    }
    let least = if source.is_queue() { 2 } else { 1 };
    let minimum = asked.minimum_pollers.unwrap_or(least);
    Some(ProvisionedPollerConfig {
        minimum_pollers: Some(minimum),
        maximum_pollers: Some(asked.maximum_pollers.unwrap_or(DEFAULT_POLLERS.max(minimum))),
        poller_group_name: group,
    })
}

/// Rules of where a new mapping starts to read.
fn check_position(settings: &Settings, source: Source, now_ms: i64) -> Result<(), AwsError> {
    if consumes_a_queue(settings) {
        return match (&settings.starting_position, &settings.starting_position_timestamp) {
            (None, None) => Ok(()),
            _ => Err(unsupported_parameter("startingPosition")),
        };
    }
    if !source.has_position() {
        return Ok(());
    }
    let position = settings.starting_position.as_deref().ok_or_else(|| {
        invalid(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member \
             must not be null.",
        )
    })?;
    match (position, settings.starting_position_timestamp) {
        ("AT_TIMESTAMP", _) if source == Source::DynamoDb => {
            Err(invalid("StartingPosition AT_TIMESTAMP is not valid for DynamoDB Streams event sources."))
        }
        ("AT_TIMESTAMP", None) => Err(invalid("Need to specify a timestamp")),
        ("AT_TIMESTAMP", Some(at)) if at.0 > now_ms => {
            Err(invalid("StartingPositionTimestamp cannot be in the future."))
        }
        ("AT_TIMESTAMP", Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => {
            Err(invalid("StartingPositionTimestamp can be set only when StartingPosition is AT_TIMESTAMP."))
        }
    }
}

/// Rules that settings must keep after a creation or an update.
fn check(settings: &Settings, source: Source) -> Result<(), AwsError> {
    let batch = settings.batch_size.unwrap_or_default();
    let window = settings.maximum_batching_window_in_seconds;
    match source {
        Source::Queue { fifo: true } if window.is_some_and(|window| window > 0) => {
            return Err(invalid("Batching window is not supported for FIFO queues"));
        }
        Source::Queue { fifo: true } if batch > MAX_QUEUE_BATCH => {
            return Err(invalid(format!("BatchSize must be at most {MAX_QUEUE_BATCH} for FIFO queues.")));
        }
        Source::Queue { .. } if batch > MAX_QUEUE_BATCH && window.unwrap_or_default() == 0 => {
            return Err(invalid(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
            ));
        }
        Source::OwnKafka if consumes_a_queue(settings) => {
            if window.is_some() {
                return Err(unsupported_parameter("maximumBatchingWindowInSeconds"));
            }
            if settings.maximum_retry_attempts == Some(-1) {
                return Err(invalid("MaximumRetryAttempts cannot be -1 when ConsumptionMode is Queue."));
            }
        }
        Source::Broker if settings.queues.is_none() => {
            return Err(invalid("Queues must name the queue for Amazon MQ event sources."));
        }
        Source::DocumentDb => {
            let config = settings.document_db_event_source_config.as_ref();
            if config.is_none_or(|config| config.database_name.is_none()) {
                return Err(invalid(
                    "DocumentDBEventSourceConfig must name the DatabaseName for DocumentDB event sources.",
                ));
            }
        }
        _ => {}
    }
    if source.is_kafka() && settings.topics.is_none() {
        return Err(invalid("Topics must name the topic for Kafka event sources."));
    }
    if settings.maximum_record_age_in_seconds.is_some_and(|age| (0..60).contains(&age)) {
        return Err(invalid("MaximumRecordAgeInSeconds must be -1 or at least 60."));
    }
    check_filters(settings)?;
    check_destination(settings, source)?;
    check_metrics(settings, source)?;
    check_pollers(settings, source)?;
    access::check(settings.source_access_configurations.as_deref().unwrap_or_default(), source)
}

fn check_filters(settings: &Settings) -> Result<(), AwsError> {
    let filters = settings.filter_criteria.as_ref().and_then(|criteria| criteria.filters.as_deref());
    let filters = filters.unwrap_or_default();
    if filters.len() > MAX_FILTERS {
        return Err(invalid(format!("An event source mapping can have at most {MAX_FILTERS} filters.")));
    }
    for filter in filters {
        let pattern = filter.pattern.as_deref().unwrap_or_default();
        if let Err(reason) = Pattern::parse(pattern, Dialect::EventSource) {
            // AWS's answer does not say what is wrong.
            tracing::info!(%pattern, %reason, "refused a filter pattern");
            return Err(invalid("Invalid filter pattern definition."));
        }
    }
    Ok(())
}

/// Failures go to standard queues and topics and to buckets; those of Kafka sources to topics there too.
fn check_destination(settings: &Settings, source: Source) -> Result<(), AwsError> {
    let config = settings.destination_config.as_ref().and_then(|config| config.on_failure.as_ref());
    let Some(arn) = config.and_then(|to| to.destination.as_deref()) else { return Ok(()) };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let fits = match parts.as_slice() {
        ["kafka", ..] => source.is_kafka() && arn.starts_with("kafka://"),
        ["arn", _, "s3", "", "", bucket] => !bucket.is_empty() && !bucket.contains('/'),
        ["arn", _, "sqs" | "sns", region, account, name] => {
            !region.is_empty() && !account.is_empty() && is_name(name)
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(invalid(format!("The destination ARN {arn} is invalid."))) }
}

fn check_metrics(settings: &Settings, source: Source) -> Result<(), AwsError> {
    let metrics = settings.metrics_config.as_ref().and_then(|config| config.metrics.as_deref());
    match metrics.unwrap_or_default().iter().find(|metric| *metric != "EventCount") {
        Some(metric) if !source.is_kafka() => {
            Err(invalid(format!("The metric {metric} is not supported for {} event sources.", source.name())))
        }
        _ => Ok(()),
    }
}

fn check_pollers(settings: &Settings, source: Source) -> Result<(), AwsError> {
    let managed = settings.amazon_managed_kafka_event_source_config.as_ref();
    let own = settings.self_managed_kafka_event_source_config.as_ref();
    let registry: Option<&KafkaSchemaRegistryConfig> = managed
        .and_then(|config| config.schema_registry_config.as_ref())
        .or_else(|| own.and_then(|config| config.schema_registry_config.as_ref()));
    let Some(config) = &settings.provisioned_poller_config else {
        return match registry {
            Some(_) => Err(invalid("SchemaRegistryConfig needs ProvisionedPollerConfig.")),
            None => Ok(()),
        };
    };
    let minimum = config.minimum_pollers.unwrap_or_default();
    let maximum = config.maximum_pollers.unwrap_or_default();
    if source.is_queue() {
        if settings.scaling_config.is_some() {
            return Err(invalid("ScalingConfig and ProvisionedPollerConfig cannot both be set."));
        }
        if config.poller_group_name.is_some() {
            return Err(unsupported_parameter("pollerGroupName"));
        }
        if minimum < 2 || maximum < 2 {
            return Err(invalid(
                "MinimumPollers and MaximumPollers must be at least 2 for SQS event sources.",
            ));
        }
    } else if maximum > MAX_KAFKA_POLLERS {
        let text = format!("MaximumPollers must be at most {MAX_KAFKA_POLLERS} for Kafka event sources.");
        return Err(invalid(text));
    }
    match minimum > maximum {
        true => Err(invalid("MinimumPollers must not be greater than MaximumPollers.")),
        false => Ok(()),
    }
}
