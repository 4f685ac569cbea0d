//! Event source mappings: states, conflicts, rules per kind of source.

use serde_json::{Value, json};

use super::*;

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:";
const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";
const FIFO: &str = "arn:aws:sqs:us-east-1:000000000000:q.fifo";
const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const TABLE: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/1";
const MSK: &str = "arn:aws:kafka:us-east-1:000000000000:cluster/c/1";
const BROKER: &str = "arn:aws:mq:us-east-1:000000000000:broker:b:1";
const DOCUMENTS: &str = "arn:aws:rds:us-east-1:000000000000:cluster:d";

fn read<T: serde::de::DeserializeOwned>(members: Value) -> T {
    serde_json::from_value(members).unwrap()
}

/// `base` with the members of `more`, where null takes a member away.
fn with(base: &Value, more: &Value) -> Value {
    let mut members = base.clone();
    for (name, value) in more.as_object().unwrap() {
        members[name] = value.clone();
    }
    members.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    members
}

impl Fixture {
    async fn map(&self, members: Value) -> Result<Value, AwsError> {
        let request = read(with(&json!({"FunctionName": "f"}), &members));
        let answer = self.service.create_event_source_mapping(&context(), request).await?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    async fn mapping(&self, uuid: &Value) -> Result<Value, AwsError> {
        let answer = self.service.get_event_source_mapping(&context(), read(json!({"UUID": uuid}))).await?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    async fn remap(&self, uuid: &Value, members: Value) -> Result<Value, AwsError> {
        let request = read(with(&json!({"UUID": uuid}), &members));
        let answer = self.service.update_event_source_mapping(&context(), request).await?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    async fn unmap(&self, uuid: &Value) -> Result<Value, AwsError> {
        let request = read(json!({"UUID": uuid}));
        let answer = self.service.delete_event_source_mapping(&context(), request).await?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    /// Waits until a mapping is in a final state; null once it is gone.
    async fn settled_mapping(&self, uuid: &Value) -> Value {
        loop {
            let Ok(mapping) = self.mapping(uuid).await else { return Value::Null };
            if matches!(mapping["State"].as_str().unwrap(), "Enabled" | "Disabled") {
                return mapping;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Keeps the reconciler from settling anything more: all it does at once waits for a runtime.
    async fn hold(&self, name: &str) {
        self.invoker.close(true);
        for n in 0..8 {
            self.create(&format!("{name}{n}"), "x").await;
        }
    }
}

fn message(refused: Result<Value, AwsError>) -> (String, u16, String) {
    let error = refused.unwrap_err();
    (error.code.into_owned(), error.status, error.message)
}

#[tokio::test]
async fn a_mapping_goes_through_its_states() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    let created = fixture.map(json!({"EventSourceArn": QUEUE})).await.unwrap();
    let uuid = &created["UUID"];
    let expected = json!({
        "UUID": uuid,
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "EventSourceArn": QUEUE,
        "FunctionArn": format!("{ARN}f"),
        "LastModified": 1_795_435_200,
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED. Lambkin does not read from SQS yet: no records reach the function.",
        "FunctionResponseTypes": [],
        "EventSourceMappingArn": format!("arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{}", uuid.as_str().unwrap()),
    });
    assert_eq!(created, expected);
    assert_eq!(fixture.settled_mapping(uuid).await, with(&expected, &json!({"State": "Enabled"})));

    fixture.clock.advance(Duration::from_millis(1500));
    let disabling = fixture.remap(uuid, json!({"Enabled": false})).await.unwrap();
    let later = json!({"State": "Disabling", "StateTransitionReason": "USER_INITIATED", "LastModified": 1_795_435_201.5});
    assert_eq!(disabling, with(&with(&expected, &later), &json!({})));
    assert_eq!(fixture.settled_mapping(uuid).await["State"], "Disabled");
    assert_eq!(fixture.remap(uuid, json!({"BatchSize": 5})).await.unwrap()["State"], "Updating");
    let settled = fixture.settled_mapping(uuid).await;
    assert_eq!((&settled["State"], &settled["BatchSize"]), (&json!("Disabled"), &json!(5)));
    assert_eq!(fixture.remap(uuid, json!({"Enabled": true})).await.unwrap()["State"], "Enabling");
    assert_eq!(fixture.settled_mapping(uuid).await["State"], "Enabled");
    assert_eq!(fixture.unmap(uuid).await.unwrap()["State"], "Deleting");
    assert_eq!(fixture.settled_mapping(uuid).await, Value::Null);
    let absent = || {
        let text = "The resource you requested does not exist.".to_owned();
        ("ResourceNotFoundException".to_owned(), 404, text)
    };
    assert_eq!(message(fixture.mapping(uuid).await), absent());
    assert_eq!(message(fixture.remap(uuid, json!({})).await), absent());
    assert_eq!(message(fixture.unmap(uuid).await), absent());
}

#[tokio::test]
async fn a_mapping_in_transition_takes_no_request_and_survives_a_restart() {
    let mut fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    fixture.settled("f").await;
    fixture.hold("before").await;
    let created = fixture.map(json!({"EventSourceArn": QUEUE, "Enabled": false})).await.unwrap();
    let uuid = &created["UUID"];
    assert_eq!(fixture.mapping(uuid).await.unwrap(), created);
    let in_use = |what: &str| {
        let text = format!("Cannot {what} the event source mapping because it is in use.");
        ("ResourceInUseException".to_owned(), 400, text)
    };
    assert_eq!(message(fixture.remap(uuid, json!({"BatchSize": 1})).await), in_use("update"));
    assert_eq!(message(fixture.unmap(uuid).await), in_use("delete"));
    // Tags are no part of what is being carried out.
    let tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let resource = created["EventSourceMappingArn"].as_str().map(ToOwned::to_owned);
    let tag = TagResourceRequest { resource: resource.clone(), tags: Some(tags.clone()) };
    fixture.service.tag_resource(&context(), tag).await.unwrap();
    fixture.invoker.close(false);
    fixture.restart().await;
    assert_eq!(fixture.settled_mapping(uuid).await["State"], "Disabled");
    let listed = fixture.service.list_tags(&context(), ListTagsRequest { resource }).await.unwrap();
    assert_eq!(listed.tags, Some(tags));

    fixture.hold("after").await;
    assert_eq!(fixture.unmap(uuid).await.unwrap()["State"], "Deleting");
    assert_eq!(message(fixture.unmap(uuid).await), in_use("delete"));
    fixture.invoker.close(false);
    fixture.restart().await;
    assert_eq!(fixture.settled_mapping(uuid).await, Value::Null);
}

#[tokio::test]
async fn one_source_has_one_mapping_to_a_function() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    fixture.create("g", "x").await;
    let (one, other) = tokio::join!(
        fixture.map(json!({"EventSourceArn": QUEUE})),
        fixture.map(json!({"EventSourceArn": QUEUE}))
    );
    let (made, refused) = match one {
        Ok(made) => (made, other),
        refused => (other.unwrap(), refused),
    };
    let uuid = made["UUID"].as_str().unwrap();
    let already = |of: &str| {
        let text = format!(
            "An event source mapping with SQS arn (\" {QUEUE} \") and function (\" f \") already exists. Please update \
             or delete the existing mapping with UUID {of}"
        );
        ("ResourceConflictException".to_owned(), 409, text)
    };
    assert_eq!(message(refused), already(uuid));

    let moved = fixture.map(json!({"EventSourceArn": QUEUE, "FunctionName": "g"})).await.unwrap();
    fixture.settled_mapping(&moved["UUID"]).await;
    assert_eq!(message(fixture.remap(&moved["UUID"], json!({"FunctionName": "f"})).await), already(uuid));
    let live = fixture.remap(&moved["UUID"], json!({"FunctionName": "f:$LATEST"})).await.unwrap();
    assert_eq!(live["FunctionArn"], format!("{ARN}f:$LATEST"));

    let stream = json!({"EventSourceArn": STREAM, "StartingPosition": "LATEST"});
    let made = fixture.map(stream.clone()).await.unwrap();
    let (.., text) = message(fixture.map(stream).await);
    assert_eq!(
        text,
        format!(
            "The event source arn (\" {STREAM} \") and function (\" f \") provided mapping already exists. Please \
             update or delete the existing mapping with UUID {}",
            made["UUID"].as_str().unwrap()
        )
    );
    let topic = |topic: &str, group: Option<&str>| {
        let config = group.map(|group| json!({"ConsumerGroupId": group}));
        json!({"EventSourceArn": MSK, "Topics": [topic], "StartingPosition": "LATEST", "AmazonManagedKafkaEventSourceConfig": config})
    };
    fixture.map(topic("one", Some("g"))).await.unwrap();
    fixture.map(topic("two", None)).await.unwrap();
    assert_eq!(message(fixture.map(topic("two", None)).await).0, "ResourceConflictException");
    assert!(
        message(fixture.map(topic("three", Some("g"))).await).2.starts_with("The Kafka consumer group is")
    );
}

#[tokio::test]
async fn a_mapping_outlives_its_function() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    let made = fixture.map(json!({"EventSourceArn": QUEUE})).await.unwrap();
    fixture.settled_mapping(&made["UUID"]).await;
    let request = DeleteFunctionRequest { function_name: Some("f".to_owned()), qualifier: None };
    fixture.service.delete_function(&context(), request).await.unwrap();
    assert_eq!(fixture.mapping(&made["UUID"]).await.unwrap()["State"], "Enabled");
    let not_found = ("ResourceNotFoundException".to_owned(), 404, format!("Function not found: {ARN}f"));
    assert_eq!(message(fixture.map(json!({"EventSourceArn": FIFO})).await), not_found);
    assert_eq!(message(fixture.remap(&made["UUID"], json!({"FunctionName": "f"})).await), not_found);
    fixture.remap(&made["UUID"], json!({"BatchSize": 2})).await.unwrap();
    fixture.settled_mapping(&made["UUID"]).await;
    fixture.unmap(&made["UUID"]).await.unwrap();
}

/// Smallest requests, by kind of source.
fn least() -> Vec<(&'static str, Value)> {
    let secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:s";
    let basic = json!([{"Type": "BASIC_AUTH", "URI": secret}]);
    vec![
        ("sqs", json!({"EventSourceArn": QUEUE})),
        ("fifo", json!({"EventSourceArn": FIFO})),
        ("kinesis", json!({"EventSourceArn": STREAM, "StartingPosition": "LATEST"})),
        ("dynamodb", json!({"EventSourceArn": TABLE, "StartingPosition": "TRIM_HORIZON"})),
        ("msk", json!({"EventSourceArn": MSK, "StartingPosition": "LATEST", "Topics": ["t"]})),
        (
            "kafka",
            json!({"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["k:9092"]}},
                "StartingPosition": "LATEST", "Topics": ["t"]}),
        ),
        ("mq", json!({"EventSourceArn": BROKER, "Queues": ["q"], "SourceAccessConfigurations": basic})),
        (
            "documentdb",
            json!({"EventSourceArn": DOCUMENTS, "StartingPosition": "LATEST",
                "DocumentDBEventSourceConfig": {"DatabaseName": "d"}, "SourceAccessConfigurations": basic}),
        ),
    ]
}

#[tokio::test]
async fn each_kind_of_source_has_its_defaults() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    let stream = json!({
        "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "ParallelizationFactor": 1,
        "LastProcessingResult": "No records processed", "DestinationConfig": {"OnFailure": {}},
        "MaximumRecordAgeInSeconds": -1, "BisectBatchOnFunctionError": false, "MaximumRetryAttempts": -1,
        "TumblingWindowInSeconds": 0, "FunctionResponseTypes": [],
    });
    let queue = json!({"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []});
    let other = json!({"BatchSize": 100, "LastProcessingResult": "No records processed"});
    for (kind, asked) in least() {
        let made = fixture.map(asked.clone()).await.unwrap();
        let group = json!({"ConsumerGroupId": made["UUID"]});
        let defaults = match kind {
            "sqs" | "fifo" => queue.clone(),
            "kinesis" | "dynamodb" => stream.clone(),
            "msk" => with(
                &other,
                &json!({"DestinationConfig": {"OnFailure": {}}, "AmazonManagedKafkaEventSourceConfig": group}),
            ),
            "kafka" => with(
                &other,
                &json!({"DestinationConfig": {"OnFailure": {}}, "SelfManagedKafkaEventSourceConfig": group}),
            ),
            _ => other.clone(),
        };
        let mut expected = with(&asked, &defaults);
        if kind == "documentdb" {
            expected["DocumentDBEventSourceConfig"]["FullDocument"] = json!("Default");
        }
        let always = [
            "UUID",
            "State",
            "StateTransitionReason",
            "FunctionArn",
            "LastModified",
            "EventSourceMappingArn",
        ];
        let mut shown = made.clone();
        shown.as_object_mut().unwrap().retain(|name, _| !always.contains(&&**name));
        assert_eq!(shown, expected, "{kind}");
        // An update that says nothing changes nothing.
        let uuid = &made["UUID"];
        let settled = fixture.settled_mapping(uuid).await;
        fixture.remap(uuid, json!({})).await.unwrap();
        assert_eq!(fixture.settled_mapping(uuid).await, settled, "{kind}");
    }
}

#[tokio::test]
async fn each_kind_of_source_has_its_parameters() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    let kinds: BTreeMap<_, _> = least().into_iter().collect();
    let all = "sqs fifo kinesis dynamodb msk kafka mq documentdb";
    let streams = "kinesis dynamodb";
    let retried = "kinesis dynamodb msk kafka";
    let queue = json!("arn:aws:sqs:us-east-1:000000000000:failures");
    for (name, value, allowed) in [
        ("BatchSize", json!(7), all),
        ("MaximumBatchingWindowInSeconds", json!(5), "sqs kinesis dynamodb msk kafka mq documentdb"),
        (
            "FilterCriteria",
            json!({"Filters": [{"Pattern": "{\"a\":[1]}"}]}),
            "sqs fifo kinesis dynamodb msk kafka mq",
        ),
        ("MetricsConfig", json!({"Metrics": ["EventCount"]}), "sqs fifo kinesis dynamodb msk kafka"),
        ("MetricsConfig", json!({"Metrics": ["KafkaMetrics", "ErrorCount"]}), "msk kafka"),
        ("LoggingConfig", json!({"SystemLogLevel": "WARN"}), "msk kafka"),
        ("ScalingConfig", json!({"MaximumConcurrency": 2}), "sqs fifo"),
        ("ParallelizationFactor", json!(10), streams),
        ("TumblingWindowInSeconds", json!(60), streams),
        ("MaximumRecordAgeInSeconds", json!(60), retried),
        ("BisectBatchOnFunctionError", json!(true), retried),
        ("MaximumRetryAttempts", json!(3), retried),
        ("DestinationConfig", json!({"OnFailure": {"Destination": queue}}), retried),
        ("FunctionResponseTypes", json!(["ReportBatchItemFailures"]), "sqs fifo kinesis dynamodb msk kafka"),
        ("ProvisionedPollerConfig", json!({"MinimumPollers": 2, "MaximumPollers": 3}), "sqs fifo msk kafka"),
    ] {
        for (kind, least) in &kinds {
            let made = fixture.map(with(least, &json!({name: value}))).await;
            let allowed = allowed.split(' ').any(|allowed| allowed == *kind);
            match made {
                Ok(made) => {
                    assert!(allowed, "{kind} {name}");
                    assert_eq!(made[name], value, "{kind}");
                    fixture.settled_mapping(&made["UUID"]).await;
                    fixture.unmap(&made["UUID"]).await.unwrap();
                    fixture.settled_mapping(&made["UUID"]).await;
                }
                Err(error) => {
                    assert!(!allowed, "{kind} {name}: {error}");
                    assert_eq!(error.code, "InvalidParameterValueException", "{kind} {name}");
                }
            }
        }
    }
    let (code, _, text) =
        message(fixture.map(with(&kinds["sqs"], &json!({"ParallelizationFactor": 2}))).await);
    assert_eq!(code, "InvalidParameterValueException");
    assert_eq!(text, "Unsupported 'parallelizationFactor' parameter for given event source mapping type.");
}

#[tokio::test]
async fn rules_are_kept() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    let kinds: BTreeMap<_, _> = least().into_iter().collect();
    let config = |mode: &str| json!({"ConsumptionMode": mode});
    for (kind, more, text) in [
        ("sqs", json!({"EventSourceArn": null}), "Unrecognized event source."),
        (
            "sqs",
            json!({"EventSourceArn": "arn:aws:sns:us-east-1:000000000000:t"}),
            "Unrecognized event source.",
        ),
        (
            "sqs",
            json!({"EventSourceArn": "arn:aws:sqs:eu-west-1:000000000000:q"}),
            "is not in the region us-east-1.",
        ),
        (
            "kafka",
            json!({"EventSourceArn": MSK}),
            "EventSourceArn and SelfManagedEventSource cannot both be set.",
        ),
        (
            "sqs",
            json!({"StartingPosition": "LATEST"}),
            "StartingPosition is not valid for SQS event sources.",
        ),
        (
            "sqs",
            json!({"BatchSize": 11}),
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        ("fifo", json!({"BatchSize": 11}), "at most 10 for FIFO queues."),
        (
            "fifo",
            json!({"MaximumBatchingWindowInSeconds": 1}),
            "Batching window is not supported for FIFO queues",
        ),
        ("kinesis", json!({"StartingPosition": null}), "Value null at 'startingPosition' failed"),
        ("msk", json!({"StartingPosition": null}), "Value null at 'startingPosition' failed"),
        ("kinesis", json!({"StartingPosition": "AT_TIMESTAMP"}), "Need to specify a timestamp"),
        ("kinesis", json!({"StartingPositionTimestamp": 1}), "only when StartingPosition is AT_TIMESTAMP."),
        (
            "kinesis",
            json!({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1_795_435_201}),
            "cannot be in the future.",
        ),
        (
            "dynamodb",
            json!({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1}),
            "not valid for DynamoDB Streams",
        ),
        ("kinesis", json!({"MaximumRecordAgeInSeconds": 59}), "must be -1 or at least 60."),
        (
            "kinesis",
            json!({"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}}),
            "Unsupported 'onSuccess' parameter",
        ),
        (
            "kinesis",
            json!({"DestinationConfig": {"OnFailure": {"Destination": "kafka://t"}}}),
            "The destination ARN kafka://t is invalid.",
        ),
        (
            "sqs",
            json!({"KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"}),
            "Lambkin does not support KMSKeyArn yet.",
        ),
        (
            "sqs",
            json!({"ScalingConfig": {"MaximumConcurrency": 5}, "ProvisionedPollerConfig": {"MinimumPollers": 2}}),
            "cannot both be set.",
        ),
        ("sqs", json!({"ProvisionedPollerConfig": {"MinimumPollers": 1}}), "at least 2 for SQS"),
        (
            "sqs",
            json!({"ProvisionedPollerConfig": {"PollerGroupName": "g"}}),
            "Unsupported 'pollerGroupName' parameter",
        ),
        ("msk", json!({"ProvisionedPollerConfig": {"MaximumPollers": 2001}}), "at most 2000 for Kafka"),
        (
            "msk",
            json!({"ProvisionedPollerConfig": {"MinimumPollers": 9, "MaximumPollers": 8}}),
            "must not be greater than MaximumPollers.",
        ),
        (
            "msk",
            json!({"AmazonManagedKafkaEventSourceConfig": {"SchemaRegistryConfig": {"SchemaRegistryURI": "x"}}}),
            "SchemaRegistryConfig needs ProvisionedPollerConfig.",
        ),
        ("msk", json!({"Topics": null}), "Topics must name the topic"),
        ("mq", json!({"Queues": null}), "Queues must name the queue"),
        ("mq", json!({"SourceAccessConfigurations": null}), "must have BASIC_AUTH for Amazon MQ"),
        ("mq", json!({"Topics": ["t"]}), "Unsupported 'topics' parameter"),
        (
            "msk",
            json!({"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "x"}]}),
            "BASIC_AUTH is not supported for Amazon MSK",
        ),
        ("kafka", json!({"SourceAccessConfigurations": [{"Type": "VPC_SUBNET"}]}), "VPC_SUBNET needs a URI."),
        (
            "kafka",
            json!({"SourceAccessConfigurations": [{"Type": "IAM_AUTH", "URI": "x"}]}),
            "IAM_AUTH takes no URI.",
        ),
        (
            "kafka",
            json!({"SourceAccessConfigurations": [{"Type": "IAM_OAUTHBEARER_AUTH"}]}),
            "needs OAUTHBEARER_AUDIENCE.",
        ),
        (
            "kafka",
            json!({"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "x"}, {"Type": "IAM_AUTH"}]}),
            "only one way to authenticate.",
        ),
        ("documentdb", json!({"DocumentDBEventSourceConfig": null}), "must name the DatabaseName"),
        (
            "kafka",
            json!({"SelfManagedKafkaEventSourceConfig": config("Queue")}),
            "Unsupported 'startingPosition' parameter",
        ),
        (
            "kafka",
            json!({"StartingPosition": null, "SelfManagedKafkaEventSourceConfig": config("Queue"), "MaximumRetryAttempts": -1}),
            "cannot be -1",
        ),
        (
            "sqs",
            json!({"FilterCriteria": {"Filters": [{"Pattern": "{\"a\": 1}"}]}}),
            "Invalid filter pattern definition.",
        ),
        ("sqs", json!({"FilterCriteria": {"Filters": [{}]}}), "Invalid filter pattern definition."),
        (
            "sqs",
            json!({"FilterCriteria": {"Filters": vec![json!({"Pattern": "{\"a\":[1]}"}); 6]}}),
            "at most 5 filters.",
        ),
        (
            "sqs",
            json!({"FunctionName": "none"}),
            "Function not found: arn:aws:lambda:us-east-1:000000000000:function:none",
        ),
        (
            "sqs",
            json!({"FunctionName": "f:live"}),
            "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:live",
        ),
        ("sqs", json!({"Tags": {"aws:x": "y"}}), "reserved"),
    ] {
        let error = fixture.map(with(&kinds[kind], &more)).await.unwrap_err();
        assert!(error.message.contains(text), "{kind} {more}: {error}");
        assert!(
            matches!(&*error.code, "InvalidParameterValueException" | "ResourceNotFoundException"),
            "{error}"
        );
        assert_eq!(error.members["Type"], "User");
    }
    let listed = fixture.service.list_event_source_mappings(&context(), Default::default()).await.unwrap();
    assert_eq!(listed.event_source_mappings, Some(Vec::new()));
}

#[tokio::test]
async fn updates_change_what_they_name_and_empty_values_take_away() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    let kinds: BTreeMap<_, _> = least().into_iter().collect();
    let given = json!({
        "FilterCriteria": {"Filters": [{"Pattern": "{\"a\":[1]}"}]}, "ScalingConfig": {"MaximumConcurrency": 5},
        "MetricsConfig": {"Metrics": ["EventCount"]}, "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BatchSize": 100, "MaximumBatchingWindowInSeconds": 1,
    });
    let made = fixture.map(with(&kinds["sqs"], &given)).await.unwrap();
    let uuid = &made["UUID"];
    fixture.settled_mapping(uuid).await;
    let error = fixture.remap(uuid, json!({"MaximumBatchingWindowInSeconds": 0})).await.unwrap_err();
    assert!(error.message.starts_with("Maximum batch window"), "{error}");
    let empty = json!({
        "FilterCriteria": {}, "ScalingConfig": {}, "MetricsConfig": {"Metrics": []}, "FunctionResponseTypes": [],
    });
    let updated = fixture.remap(uuid, empty).await.unwrap();
    let gone = json!({"FilterCriteria": null, "ScalingConfig": null, "MetricsConfig": null, "FunctionResponseTypes": []});
    assert_eq!(updated, with(&with(&made, &gone), &json!({"State": "Updating"})));

    let host = json!([{"Type": "BASIC_AUTH", "URI": "a"}, {"Type": "VIRTUAL_HOST", "URI": "/"}]);
    let made = fixture.map(with(&kinds["mq"], &json!({"SourceAccessConfigurations": host}))).await.unwrap();
    let uuid = &made["UUID"];
    fixture.settled_mapping(uuid).await;
    let error = fixture.remap(uuid, json!({"SourceAccessConfigurations": host})).await.unwrap_err();
    assert_eq!(error.message, "Invalid parameters: VIRTUAL_HOST");
    let other = json!({"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "b"}]});
    let updated = fixture.remap(uuid, other).await.unwrap();
    let both = json!([{"Type": "BASIC_AUTH", "URI": "b"}, {"Type": "VIRTUAL_HOST", "URI": "/"}]);
    assert_eq!(updated["SourceAccessConfigurations"], both);

    let made = fixture.map(kinds["kafka"].clone()).await.unwrap();
    let uuid = &made["UUID"];
    fixture.settled_mapping(uuid).await;
    for fixed in [json!({"ConsumerGroupId": "other"}), json!({"ConsumptionMode": "Queue"})] {
        let error =
            fixture.remap(uuid, json!({"SelfManagedKafkaEventSourceConfig": fixed})).await.unwrap_err();
        assert!(error.message.contains("cannot be changed"), "{error}");
    }
}
