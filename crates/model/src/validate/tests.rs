use serde_json::json;

use super::*;
use crate::{lambda, logs, sts};

fn check(service: &'static Service, operation: &str, input: Value) -> Result<(), AwsError> {
    validate(service, service.operation(operation).unwrap().input.unwrap(), &input)
}

fn message(service: &'static Service, operation: &str, input: Value) -> String {
    check(service, operation, input).unwrap_err().message
}

/// An input of CreateFunction that is fine, with `changes` on top.
fn function(changes: Value) -> Value {
    let mut input = json!({
        "FunctionName": "hello",
        "Role": "arn:aws:iam::123456789012:role/run",
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Code": {"ZipFile": "UEsFBgAAAAA="},
    });
    for (name, value) in changes.as_object().unwrap() {
        input.as_object_mut().unwrap().insert(name.clone(), value.clone());
    }
    input
}

fn created(changes: Value) -> String {
    message(&lambda::SERVICE, "CreateFunction", function(changes))
}

#[test]
fn a_good_input_passes() {
    assert_eq!(check(&lambda::SERVICE, "CreateFunction", function(json!({}))), Ok(()));
    assert_eq!(check(&sts::SERVICE, "GetCallerIdentity", Value::Null), Ok(()));
}

#[test]
fn codes_differ_by_service() {
    let lambda = check(&lambda::SERVICE, "GetFunction", json!({})).unwrap_err();
    assert_eq!(
        (lambda.code.as_ref(), lambda.status, lambda.sender_fault),
        ("ValidationException", 400, true)
    );
    let logs = check(&logs::SERVICE, "CreateLogGroup", json!({})).unwrap_err();
    assert_eq!((logs.code.as_ref(), logs.status), ("InvalidParameterException", 400));
    let sts = check(&sts::SERVICE, "AssumeRole", json!({})).unwrap_err();
    assert_eq!((sts.code.as_ref(), sts.status), ("ValidationError", 400));
}

#[test]
fn missing_members_are_null() {
    assert_eq!(
        message(&lambda::SERVICE, "CreateFunction", Value::Null),
        "3 validation errors detected: \
         Value null at 'functionName' failed to satisfy constraint: Member must not be null; \
         Value null at 'role' failed to satisfy constraint: Member must not be null; \
         Value null at 'code' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn a_pattern_is_named_before_a_length() {
    assert_eq!(
        message(&logs::SERVICE, "DescribeLogGroups", json!({"logGroupNamePrefix": ""})),
        "2 validation errors detected: Value '' at 'logGroupNamePrefix' failed to satisfy constraint: Member \
         must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+; Value '' at 'logGroupNamePrefix' \
         failed to satisfy constraint: Member must have length greater than or equal to 1"
    );
}

#[test]
fn lengths_of_strings_count_characters() {
    let most = "ü".repeat(256);
    assert_eq!(check(&lambda::SERVICE, "CreateFunction", function(json!({"Description": most}))), Ok(()));
    let more = "ü".repeat(257);
    assert_eq!(
        created(json!({"Description": more})),
        format!(
            "1 validation error detected: Value '{more}' at 'description' failed to satisfy constraint: Member \
             must have length less than or equal to 256"
        )
    );
}

#[test]
fn numbers_are_bounded() {
    assert_eq!(
        created(json!({"MemorySize": 64, "Timeout": 0})),
        "2 validation errors detected: Value '0' at 'timeout' failed to satisfy constraint: Member must have \
         value greater than or equal to 1; Value '64' at 'memorySize' failed to satisfy constraint: Member \
         must have value greater than or equal to 128"
    );
    assert_eq!(
        message(&lambda::SERVICE, "ListFunctions", json!({"MaxItems": 10_001})),
        "1 validation error detected: Value '10001' at 'maxItems' failed to satisfy constraint: Member must \
         have value less than or equal to 10000"
    );
    let weights = json!({"FunctionName": "f", "Name": "live", "FunctionVersion": "1",
        "RoutingConfig": {"AdditionalVersionWeights": {"2": 1.5}}});
    assert_eq!(
        message(&lambda::SERVICE, "CreateAlias", weights),
        "1 validation error detected: Value '{2=1.5}' at 'routingConfig.additionalVersionWeights' failed to \
         satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to \
         1, Member must have value greater than or equal to 0]"
    );
}

#[test]
fn enums_list_their_values() {
    assert_eq!(
        created(json!({"PackageType": "Tar"})),
        "1 validation error detected: Value 'Tar' at 'packageType' failed to satisfy constraint: Member must \
         satisfy enum value set: [Zip, Image]"
    );
}

#[test]
fn lambda_checks_the_runtime_after_the_model() {
    let error =
        check(&lambda::SERVICE, "CreateFunction", function(json!({"Runtime": "cobol85"}))).unwrap_err();
    assert_eq!((error.code.as_ref(), error.status), ("InvalidParameterValueException", 400));
    assert!(
        error.message.starts_with(
            "Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: \
             [nodejs, nodejs4.3, "
        ),
        "{error}"
    );
    assert!(error.message.ends_with("] or be a valid ARN"), "{error}");
    let both = created(json!({"Runtime": "cobol85", "PackageType": "Tar"}));
    assert!(both.starts_with("1 validation error detected: Value 'Tar' at 'packageType'"), "{both}");
}

#[test]
fn only_the_first_letter_of_a_name_changes() {
    assert!(created(json!({"KMSKeyArn": "key"})).contains("Value 'key' at 'kMSKeyArn'"));
    let code = json!({"Code": {"S3Bucket": "b", "S3Key": "k"}});
    assert!(created(code).contains("Value 'b' at 'code.s3Bucket' failed"));
}

#[test]
fn elements_are_reported_at_their_list() {
    assert_eq!(
        created(json!({"Architectures": ["x86_64", "mips"]})),
        "2 validation errors detected: Value '[x86_64, mips]' at 'architectures' failed to satisfy constraint: \
         Member must have length less than or equal to 1; Value '[x86_64, mips]' at 'architectures' failed to \
         satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, \
         arm64], Member must not be null]"
    );
    let layers = created(json!({"Layers": ["", null]}));
    assert!(
        layers.starts_with(
            "1 validation error detected: Value '[, null]' at 'layers' failed to satisfy constraint: Member \
             must satisfy constraint: [Member must have length less than or equal to 2048, Member must have \
             length greater than or equal to 1, Member must satisfy regular expression pattern: "
        ),
        "{layers}"
    );
    assert!(layers.ends_with(", Member must not be null]"), "{layers}");
}

#[test]
fn structures_in_lists_and_maps_are_descended_into() {
    let events = json!({"logGroupName": "g", "logStreamName": "s",
        "logEvents": [{"timestamp": 1, "message": "m"}, {"message": ""}]});
    assert_eq!(
        message(&logs::SERVICE, "PutLogEvents", events),
        "2 validation errors detected: Value null at 'logEvents.2.member.timestamp' failed to satisfy \
         constraint: Member must not be null; Value '' at 'logEvents.2.member.message' failed to satisfy \
         constraint: Member must have length greater than or equal to 1"
    );
    assert_eq!(
        message(
            &logs::SERVICE,
            "PutLogEvents",
            json!({"logGroupName": "g", "logStreamName": "s", "logEvents": []})
        ),
        "1 validation error detected: Value '[]' at 'logEvents' failed to satisfy constraint: Member must have \
         length greater than or equal to 1"
    );
}

#[test]
fn sensitive_values_are_not_repeated() {
    assert_eq!(
        created(json!({"Environment": {"Variables": {"1": "secret"}}})),
        "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys \
         must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
    );
}

#[test]
fn blobs_are_measured_in_bytes_and_printed_as_buffers() {
    let shape = crate::build::blob("Data").max(4);
    let service: &'static Service = Box::leak(Box::new(Service {
        name: "test",
        signing_name: "test",
        api_version: "",
        protocols: &[],
        target_prefix: "",
        xml_namespace: "",
        query_compatible: false,
        shapes: Box::leak(Box::new([
            crate::build::structure("Input", const { &[crate::build::member("Data", 1)] }),
            shape,
        ])),
        operations: &[],
    }));
    assert_eq!(validate(service, 0, &json!({"Data": "AAAAAA=="})), Ok(()));
    assert_eq!(
        validate(service, 0, &json!({"Data": "AAAAAAA="})).unwrap_err().message,
        "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=5 cap=5]' at 'data' failed to \
         satisfy constraint: Member must have length less than or equal to 4"
    );
}

#[test]
fn a_raw_payload_is_not_missed() {
    assert_eq!(check(&lambda::SERVICE, "InvokeAsync", json!({"FunctionName": "f"})), Ok(()));
}

#[test]
fn wrong_types_come_before_constraints() {
    for (changes, expected) in [
        (json!({"Description": 7}), "NUMBER_VALUE can not be converted to a String"),
        (json!({"Description": true}), "TRUE_VALUE can not be converted to a String"),
        (json!({"Description": {}}), "Start of structure or map found where not expected"),
        (json!({"Description": []}), "Start of list found where not expected"),
        (json!({"Timeout": "3"}), "STRING_VALUE can not be converted to an Integer"),
        (json!({"Timeout": 3_000_000_000_i64}), "NUMBER_VALUE can not be converted to an Integer"),
        (json!({"Publish": "true"}), "STRING_VALUE can not be converted to a Boolean"),
        (json!({"Layers": "one"}), "Expected list or null"),
        (json!({"Layers": [1]}), "NUMBER_VALUE can not be converted to a String"),
        (json!({"Tags": "one"}), "Expected map or null"),
        (json!({"Tags": {"a": {}}}), "Start of structure or map found where not expected"),
        (json!({"Code": 1}), "Expected null"),
        (json!({"Code": {"ZipFile": 1}}), "NUMBER_VALUE can not be converted to a Blob"),
    ] {
        let error = check(&lambda::SERVICE, "CreateFunction", function(changes)).unwrap_err();
        assert_eq!((error.code.as_ref(), error.status), ("SerializationException", 400));
        assert_eq!(error.message, expected);
    }
    let early = created(json!({"FunctionName": "", "Description": 7}));
    assert_eq!(early, "NUMBER_VALUE can not be converted to a String");
}
