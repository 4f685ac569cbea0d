//! Function URLs: their configuration, for a function or an alias. Nothing serves the URLs yet.

use jiff::Timestamp;
use lambkin_core::ids::Scope;
use lambkin_model::lambda::{
    Cors, CreateFunctionUrlConfigRequest, CreateFunctionUrlConfigResponse, DeleteFunctionUrlConfigRequest,
    FunctionUrlConfig, GetFunctionUrlConfigRequest, GetFunctionUrlConfigResponse,
    ListFunctionUrlConfigsRequest, ListFunctionUrlConfigsResponse, UpdateFunctionUrlConfigRequest,
    UpdateFunctionUrlConfigResponse,
};
use lambkin_model::{AwsError, RequestContext};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::dependents::Dependent;
use super::faults::{conflict, invalid, not_found};
use super::names::{LATEST, Target, is_number};
use super::read::{page, place};
use super::record::FORMAT;
use super::resolve::Found;
use crate::paging;

/// The URL of a function or an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Url {
    v: u32,
    /// First part of the host name; it stays as long as the configuration.
    id: String,
    auth_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cors: Option<Cors>,
    invoke_mode: String,
    created_ms: i64,
    modified_ms: i64,
}

impl Dependent for Url {
    const KIND: &'static str = "lambda.url";

    fn format(&self) -> u32 {
        self.v
    }
}

impl Inner {
    pub(crate) async fn create_url(
        &self,
        context: &RequestContext,
        request: CreateFunctionUrlConfigRequest,
    ) -> Result<CreateFunctionUrlConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.find_url_owner(context, "CreateFunctionUrlConfig", name, qualifier)?.target;
        let now_ms = self.clock.now_ms();
        let url = Url {
            v: FORMAT,
            id: new_id(),
            auth_type: request.auth_type.unwrap_or_default(),
            cors: check_cors(request.cors)?,
            invoke_mode: request.invoke_mode.unwrap_or_else(|| "BUFFERED".to_owned()),
            created_ms: now_ms,
            modified_ms: now_ms,
        };
        self.set_dependent::<Url, _>(&target, |present| match present {
            None => Ok((Some(url.clone()), ())),
            Some(_) => Err(conflict(format!(
                "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig \
                 exists for this Lambda function",
                target.arn()
            ))),
        })
        .await?;
        let shown = view(context, &target, &url);
        tracing::warn!(
            function = %target.arn(),
            "function URLs are not served yet: the configuration is kept, and requests to the URL reach nothing"
        );
        Ok(CreateFunctionUrlConfigResponse {
            function_url: shown.function_url,
            function_arn: shown.function_arn,
            auth_type: shown.auth_type,
            cors: shown.cors,
            creation_time: shown.creation_time,
            invoke_mode: shown.invoke_mode,
        })
    }

    pub(crate) async fn update_url(
        &self,
        context: &RequestContext,
        request: UpdateFunctionUrlConfigRequest,
    ) -> Result<UpdateFunctionUrlConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.find_url_owner(context, "UpdateFunctionUrlConfig", name, qualifier)?.target;
        let is_cors_given = request.cors.is_some();
        let cors = check_cors(request.cors)?;
        let now_ms = self.clock.now_ms();
        let url = self
            .set_dependent::<Url, _>(&target, |present| {
                let mut next = present.ok_or_else(absent)?;
                next.v = FORMAT;
                next.modified_ms = now_ms;
                if let Some(auth_type) = &request.auth_type {
                    next.auth_type.clone_from(auth_type);
                }
                if let Some(invoke_mode) = &request.invoke_mode {
                    next.invoke_mode.clone_from(invoke_mode);
                }
                if is_cors_given {
                    next.cors.clone_from(&cors);
                }
                Ok((Some(next.clone()), next))
            })
            .await?;
        let shown = view(context, &target, &url);
        Ok(UpdateFunctionUrlConfigResponse {
            function_url: shown.function_url,
            function_arn: shown.function_arn,
            auth_type: shown.auth_type,
            cors: shown.cors,
            creation_time: shown.creation_time,
            last_modified_time: shown.last_modified_time,
            invoke_mode: shown.invoke_mode,
        })
    }

    pub(crate) fn get_url(
        &self,
        context: &RequestContext,
        request: &GetFunctionUrlConfigRequest,
    ) -> Result<GetFunctionUrlConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let found = self.find_url_owner(context, "GetFunctionUrlConfig", name, qualifier)?;
        let url = found.entry.dependent::<Url>(found.qualifier()).ok_or_else(absent)?;
        let shown = view(context, &found.target, &url);
        Ok(GetFunctionUrlConfigResponse {
            function_url: shown.function_url,
            function_arn: shown.function_arn,
            auth_type: shown.auth_type,
            cors: shown.cors,
            creation_time: shown.creation_time,
            last_modified_time: shown.last_modified_time,
            invoke_mode: shown.invoke_mode,
        })
    }

    pub(crate) async fn delete_url(
        &self,
        context: &RequestContext,
        request: DeleteFunctionUrlConfigRequest,
    ) -> Result<(), AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.find_url_owner(context, "DeleteFunctionUrlConfig", name, qualifier)?.target;
        self.set_dependent::<Url, _>(&target, |present| match present {
            Some(_) => Ok((None, ())),
            None => Err(absent()),
        })
        .await
    }

    pub(crate) fn list_urls(
        &self,
        context: &RequestContext,
        request: &ListFunctionUrlConfigsRequest,
    ) -> Result<ListFunctionUrlConfigsResponse, AwsError> {
        let name = request.function_name.as_deref();
        let found = self.find(context, "ListFunctionUrlConfigs", name, None)?;
        let after = place(request.marker.as_deref())?;
        let page = page(request.max_items);
        let mut urls: Vec<_> = found
            .entry
            .dependents::<Url>()
            .filter(|(qualifier, _)| after.as_deref().is_none_or(|after| *qualifier > after))
            .take(page + 1)
            .collect();
        let next_marker = paging::cut(&mut urls, page, |(qualifier, _)| qualifier);
        let function = found.target.clone().unqualified();
        let urls = urls.iter().map(|(qualifier, url)| match *qualifier {
            LATEST => view(context, &function, url),
            alias => view(context, &function.with(alias), url),
        });
        Ok(ListFunctionUrlConfigsResponse { function_url_configs: Some(urls.collect()), next_marker })
    }

    /// Finds the function or alias; versions have no URLs, and `$LATEST` is the function.
    fn find_url_owner(
        &self,
        context: &RequestContext,
        operation: &str,
        name: Option<&str>,
        qualifier: Option<&str>,
    ) -> Result<Found, AwsError> {
        let target = self.resolve(context, operation, name, qualifier)?;
        match target.qualifier.as_deref() {
            Some(qualifier) if is_number(qualifier) || qualifier.starts_with('$') => Err(AwsError::new(
                "ValidationException",
                400,
                format!(
                    "1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy \
                     constraint: Member must satisfy regular expression pattern: \
                     ((?!^\\d+$)^[0-9a-zA-Z-_]+$)"
                ),
            )),
            _ => self.find_target(target),
        }
    }
}

fn absent() -> AwsError {
    not_found("The resource you requested does not exist.")
}

/// Letters and digits of an id.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// 32 random letters and digits.
fn new_id() -> String {
    let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    let bytes = random.iter().flat_map(uuid::Uuid::as_bytes);
    bytes.filter_map(|byte| ALPHABET.get(usize::from(byte % 36)).copied()).map(char::from).collect()
}

/// HTTP methods that CORS can allow.
const METHODS: &[&str] = &["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"];

/// What the model does not check; settings without a member are none.
fn check_cors(cors: Option<Cors>) -> Result<Option<Cors>, AwsError> {
    let Some(cors) = cors.filter(|cors| *cors != Cors::default()) else { return Ok(None) };
    let mut methods = cors.allow_methods.iter().flatten();
    if let Some(method) = methods.find(|method| !METHODS.contains(&method.as_str())) {
        return Err(invalid(format!(
            "The method {method} in AllowMethods is invalid. Valid values are: {}",
            METHODS.join(", ")
        )));
    }
    Ok(Some(cors))
}

/// A configuration as the API shows it.
fn view(context: &RequestContext, target: &Target, url: &Url) -> FunctionUrlConfig {
    FunctionUrlConfig {
        function_url: Some(address(&context.endpoint, &target.scope, &url.id)),
        function_arn: Some(target.arn()),
        creation_time: Some(time(url.created_ms)),
        last_modified_time: Some(time(url.modified_ms)),
        cors: url.cors.clone(),
        auth_type: Some(url.auth_type.clone()),
        invoke_mode: Some(url.invoke_mode.clone()),
    }
}

/// `http://ID.lambda-url.REGION.localhost:PORT/`: AWS's form below the name by which the client reaches this
/// server, or below `localhost`, whose names need no DNS, where it uses an address.
fn address(endpoint: &str, scope: &Scope, id: &str) -> String {
    let (scheme, authority) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, format!(":{port}")),
        _ => (authority, String::new()),
    };
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let host = if is_address { "localhost" } else { host };
    format!("{scheme}://{id}.lambda-url.{}.{host}{port}/", scope.region)
}

/// `2026-11-23T12:00:00.000Z`.
fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_like_awss() {
        let (one, other) = (new_id(), new_id());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{one}");
    }

    #[test]
    fn addresses_lead_back_to_the_server() {
        let scope = Scope::new("000000000000", "eu-west-1");
        for (endpoint, expected) in [
            ("http://127.0.0.1:4566", "http://x.lambda-url.eu-west-1.localhost:4566/"),
            ("http://[::1]:4566", "http://x.lambda-url.eu-west-1.localhost:4566/"),
            ("http://[::1]", "http://x.lambda-url.eu-west-1.localhost/"),
            ("http://localhost:80", "http://x.lambda-url.eu-west-1.localhost:80/"),
            ("https://lambda.example.com", "https://x.lambda-url.eu-west-1.lambda.example.com/"),
        ] {
            assert_eq!(address(endpoint, &scope, "x"), expected, "{endpoint}");
        }
    }

    #[test]
    fn cors_without_members_is_none() {
        assert_eq!(check_cors(Some(Cors::default())).unwrap(), None);
        let methods = |list: &[&str]| {
            let allow_methods = Some(list.iter().map(|method| (*method).to_owned()).collect());
            check_cors(Some(Cors { allow_methods, ..Cors::default() }))
        };
        assert!(methods(&["GET", "*"]).unwrap().is_some());
        assert!(methods(&["GET", "get"]).unwrap_err().message.contains("The method get in AllowMethods"));
    }
}
