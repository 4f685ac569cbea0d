//! Small services for tests, and the choice among services.

use std::sync::Arc;

use http::Request;
use lambkin_model::handler::BoxFuture;
use lambkin_model::schema::{Operation, Protocol, Service};
use lambkin_model::{AwsError, Input, Output, RequestContext, ServiceHandler};

use super::*;

pub(crate) const fn operation(name: &'static str, method: &'static str, uri: &'static str) -> Operation {
    Operation {
        name,
        method,
        uri,
        status: 200,
        input: None,
        output: None,
        result_wrapper: "",
        errors: &[],
        unsigned: false,
    }
}

pub(crate) const fn service(
    name: &'static str,
    protocols: &'static [Protocol],
    target_prefix: &'static str,
    operations: &'static [Operation],
) -> Service {
    Service {
        name,
        signing_name: name,
        api_version: "2026-01-01",
        protocols,
        target_prefix,
        xml_namespace: "",
        query_compatible: false,
        shapes: &[],
        operations,
    }
}

/// A service with REST routes of every kind.
pub(crate) fn rest_service() -> &'static Service {
    static OPERATIONS: &[Operation] = &[
        operation("GetFile", "GET", "/files/{Path+}"),
        operation("GetLayerByArn", "GET", "/layers?find=Version"),
        operation("GetMeta", "GET", "/files/{Path+}/meta"),
        operation("GetSpecial", "GET", "/things/special"),
        operation("GetThing", "GET", "/things/{Name}"),
        operation("ListLayers", "GET", "/layers"),
        operation("ListThings", "GET", "/things/"),
        operation("PutThing", "PUT", "/things/{Name}"),
        operation("RunThing", "POST", "/things/{Id}/runs"),
    ];
    static SERVICE: Service = service("things", &[Protocol::RestJson], "", OPERATIONS);
    &SERVICE
}

struct Fixed(&'static Service);

impl ServiceHandler for Fixed {
    fn schema(&self) -> &'static Service {
        self.0
    }

    fn call<'a>(
        &'a self,
        _: &'a RequestContext,
        operation: &'static Operation,
        _: Input,
    ) -> BoxFuture<'a, Result<Output, AwsError>> {
        Box::pin(async move { Err(AwsError::not_implemented(self.0.name, operation.name)) })
    }
}

fn router() -> Router {
    static JSON: &[Operation] = &[operation("Put", "POST", "/")];
    static LOGS: Service = service("logs", &[Protocol::Json11], "Logs_20140328", JSON);
    static QUERY: &[Operation] = &[operation("Who", "POST", "/")];
    static STS: Service = service("sts", &[Protocol::Query], "", QUERY);
    static METRICS: Service =
        service("metrics", &[Protocol::RpcV2Cbor, Protocol::Json10, Protocol::Query], "Granite", JSON);
    let services = [rest_service(), &LOGS, &STS, &METRICS];
    Router::new(
        services.into_iter().map(|schema| Arc::new(Fixed(schema)) as Arc<dyn ServiceHandler>).collect(),
    )
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn service_name(scope: Option<&str>, parts: &Parts) -> Option<&'static str> {
    router().service(parts, scope).map(|entry| entry.schema.name)
}

#[test]
fn chooses_the_service_in_order() {
    let any = parts("GET", "/", &[]);
    assert_eq!(service_name(Some("logs"), &any), Some("logs"));
    assert_eq!(service_name(Some("unheard"), &any), None);
    assert_eq!(service_name(None, &any), None);
    // Unsigned: target, path, Action, host.
    assert_eq!(
        service_name(None, &parts("POST", "/", &[("x-amz-target", "Logs_20140328.Put")])),
        Some("logs")
    );
    assert_eq!(service_name(None, &parts("GET", "/things/a", &[])), Some("things"));
    assert_eq!(service_name(None, &parts("POST", "/service/G/operation/Put", &[])), Some("metrics"));
    assert_eq!(service_name(None, &parts("GET", "/?Action=Who&Version=2026-01-01", &[])), Some("sts"));
    assert_eq!(
        service_name(None, &parts("GET", "/", &[("host", "sts.us-east-1.amazonaws.com")])),
        Some("sts")
    );
    // A scope that names another service than the target: the target counts, verification will refuse.
    assert_eq!(
        service_name(Some("things"), &parts("POST", "/", &[("x-amz-target", "Logs_20140328.Put")])),
        Some("logs")
    );
    assert_eq!(router().service_of_action("Version=2026-01-01&Action=Who").unwrap().schema.name, "sts");
    assert!(router().service_of_action("Version=1999-01-01&Action=Who").is_none());
}

#[test]
fn tells_protocols_and_operations() {
    let router = router();
    let run = |scope: &str, parts: &Parts| {
        let entry = router.service(parts, Some(scope)).unwrap();
        let protocol = entry.protocol(parts);
        let found = match entry.operation(protocol, parts) {
            Found::Operation(operation, _) => operation.name.to_owned(),
            Found::InBody => "in body".to_owned(),
            Found::Unknown(name) => format!("unknown {name}"),
        };
        (protocol, found)
    };
    let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let cbor = parts("POST", "/service/G/operation/Put", &[("smithy-protocol", "rpc-v2-cbor")]);
    assert_eq!(run("metrics", &cbor), (Protocol::RpcV2Cbor, "Put".into()));
    let json = [("x-amz-target", "Granite.Put"), ("content-type", "application/x-amz-json-1.0")];
    assert_eq!(run("metrics", &parts("POST", "/", &json)), (Protocol::Json10, "Put".into()));
    assert_eq!(run("metrics", &parts("POST", "/", &[form])), (Protocol::Query, "in body".into()));
    assert_eq!(run("sts", &parts("POST", "/", &[form])), (Protocol::Query, "in body".into()));
    let nope = parts("GET", "/?Action=Nope", &[]);
    assert_eq!(run("sts", &nope), (Protocol::Query, "unknown Nope".into()));
    let nope = parts("POST", "/", &[("x-amz-target", "Logs_20140328.Nope")]);
    assert_eq!(run("logs", &nope), (Protocol::Json11, "unknown Nope".into()));
    assert_eq!(run("things", &parts("DELETE", "/things/a", &[])), (Protocol::RestJson, "unknown ".into()));
}
