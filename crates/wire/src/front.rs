//! The front: one request from its head to its response, for all services.

mod endpoint;
mod refuse;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use lambkin_model::handler::BoxFuture;
use lambkin_model::schema::{Operation, Protocol};
use lambkin_model::validate::validate;
use lambkin_model::{AwsError, Caller, Input, Output, Principal, RequestContext, ServiceHandler};
use tracing::Instrument as _;

use self::endpoint::Endpoints;
pub use self::endpoint::Scheme;
use self::refuse::Refusal;
use crate::limits::Limits;
use crate::reply::ResponseBody;
use crate::route::{Entry, Found, Labels, Router};
use crate::sigv4::{self, Authenticator, Lookup, Scope, SignatureError, Signed, Verifier};
use crate::{body, codec, uri};

/// Time since the epoch.
pub type Now = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Whether signatures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every request must be signed by a known key, as on AWS.
    Strict,
    /// Nothing is verified. A known key keeps its identity; everything else acts as the root of account
    /// 000000000000.
    Dev,
}

/// Routes outside the AWS APIs: requests whose path starts with [`INTERNAL_PREFIX`].
pub trait InternalRoutes: Send + Sync {
    /// Answers a request. Authentication is up to the implementor.
    fn handle(&self, request: Parts, body: Bytes) -> BoxFuture<'_, Response<Full<Bytes>>>;
}

/// Path prefix of [`InternalRoutes`].
pub const INTERNAL_PREFIX: &str = "/_lambkin/";

/// What a [`Front`] is made of.
#[derive(Clone)]
pub struct FrontConfig {
    /// The services. Where two have the same signing name, the request's form decides.
    pub services: Vec<Arc<dyn ServiceHandler>>,
    /// Knows the access keys.
    pub authenticator: Arc<dyn Authenticator>,
    /// Whether signatures count.
    pub mode: Mode,
    /// Region of requests without a credential scope.
    pub default_region: Arc<str>,
    /// The clock.
    pub now: Now,
    /// Routes outside the AWS APIs.
    pub internal: Option<Arc<dyn InternalRoutes>>,
    /// Size limits.
    pub limits: Limits,
}

impl std::fmt::Debug for FrontConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let services: Vec<_> = self.services.iter().map(|service| service.schema().name).collect();
        f.debug_struct("FrontConfig").field("services", &services).field("mode", &self.mode).finish()
    }
}

/// Answers requests for all services on one port.
pub struct Front {
    router: Router,
    verifier: Verifier,
    mode: Mode,
    default_region: Arc<str>,
    now: Now,
    internal: Option<Arc<dyn InternalRoutes>>,
    limits: Limits,
    anonymous: Arc<Caller>,
    endpoints: Endpoints,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Account of whoever is not known in [`Mode::Dev`].
const DEV_ACCOUNT: &str = "000000000000";

impl Front {
    /// Builds the route tables.
    #[must_use]
    pub fn new(config: FrontConfig) -> Self {
        Self {
            router: Router::new(config.services),
            verifier: Verifier::new(config.authenticator),
            mode: config.mode,
            default_region: config.default_region,
            now: config.now,
            internal: config.internal,
            limits: config.limits,
            anonymous: Arc::new(Caller {
                account: "".into(),
                arn: String::new(),
                user_id: String::new(),
                access_key_id: String::new(),
                principal: Principal::Anonymous,
            }),
            endpoints: Endpoints::default(),
        }
    }

    /// Answers one request that came by `scheme`. Needs a tokio runtime: the handler runs on a task of its own, so that it ends
    /// even if this future is dropped because the client hung up.
    pub async fn handle<B>(&self, request: Request<B>, scheme: Scheme) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Send,
    {
        let (parts, mut body) = request.into_parts();
        if let Some(internal) = &self.internal
            && parts.uri.path().starts_with(INTERNAL_PREFIX)
        {
            return match body::read(&mut body, &parts.headers, self.limits.body).await {
                Ok(body) => internal.handle(parts, body).await,
                Err(error) => {
                    body::drain(body, &parts.headers, self.limits.drain);
                    refuse::plain(error)
                }
            }
            .map(ResponseBody::from);
        }
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        let request_id: &str = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        match self.process(&parts, &mut body, scheme, request_id).await {
            Ok(response) => response,
            Err(refusal) => {
                // What the refusal left unread.
                body::drain(body, &parts.headers, self.limits.drain);
                tracing::debug!(
                    request_id,
                    method = %parts.method,
                    path = parts.uri.path(),
                    code = %refusal.error.code,
                    status = refusal.error.status,
                    "request refused"
                );
                codec::encode_error(refusal.protocol, refusal.service, &refusal.error, request_id)
                    .map(ResponseBody::from)
            }
        }
    }

    async fn process<B>(
        &self,
        parts: &Parts,
        body: &mut B,
        scheme: Scheme,
        request_id: &str,
    ) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let signed = sigv4::find(parts);
        let scope = signed
            .as_ref()
            .ok()
            .and_then(|signed| Scope::parse(&signed.credential))
            .map(|scope| scope.service);
        let mut read = None;
        let entry = match self.router.service(parts, scope) {
            Some(entry) => entry,
            None => {
                // The last that can tell is the form.
                let form = self.read(parts, body, self.form_limit(), "").await;
                let form = form.map_err(|error| Refusal::unrouted(parts, error))?;
                let entry = std::str::from_utf8(&form)
                    .ok()
                    .and_then(|form| self.router.service_of_action(form))
                    .ok_or_else(|| Refusal::unknown_service(parts, scope))?;
                read = Some(form);
                entry
            }
        };
        let protocol = entry.protocol(parts);
        let refuse = |error: AwsError| Refusal { protocol, service: Some(entry.schema), error };

        let mut found = entry.operation(protocol, parts);
        let (limit, limited) = match &found {
            Found::Operation(operation, _) => self.limits.of(entry.schema.name, operation.name),
            Found::InBody if matches!(signed, Err(SignatureError::Missing)) => (self.form_limit(), ""),
            Found::InBody | Found::Unknown(_) => (self.limits.body, ""),
        };
        if body::declared(&parts.headers).is_some_and(|length| length > limit) {
            return Err(refuse(refuse::too_large(limit, limited)));
        }
        // Strangers are turned away before their body is read, but for the operations that need no key.
        let begun = match &found {
            _ if self.mode == Mode::Dev => None,
            Found::Operation(operation, _) if operation.unsigned => None,
            Found::InBody if matches!(signed, Err(SignatureError::Missing)) => None,
            _ => Some(self.begin(&signed, entry).map_err(|error| refuse(error.to_aws(protocol)))?),
        };
        let payload = match read {
            Some(read) => read,
            None => self.read(parts, body, limit, limited).await.map_err(refuse)?,
        };
        let mut version = None;
        if let Found::InBody = found {
            (found, version) = action(entry, &payload);
        }
        let unsigned = matches!(&found, Found::Operation(operation, _) if operation.unsigned);
        let caller = match (begun, &signed) {
            (Some(begun), Ok(signed)) => {
                let verified = self.verifier.finish(begun, parts, signed, payload);
                let verified = verified.map_err(|error| refuse(error.to_aws(protocol)))?;
                (verified.caller, verified.region, verified.body)
            }
            (_, signed) if self.mode == Mode::Dev => {
                let payload = sigv4::decode_payload(parts, payload);
                let payload = payload.map_err(|error| refuse(error.to_aws(protocol)))?;
                let (caller, region) = self.dev_caller(signed);
                (caller, region, payload)
            }
            _ if unsigned => (Arc::clone(&self.anonymous), Arc::clone(&self.default_region), payload),
            _ => return Err(refuse(SignatureError::Missing.to_aws(protocol))),
        };
        let (operation, labels) = match found {
            Found::Operation(operation, labels) => (operation, labels),
            Found::Unknown(name) => {
                return Err(refuse(refuse::unknown_operation(protocol, parts, &name, version)));
            }
            Found::InBody => return Err(refuse(refuse::unknown_operation(protocol, parts, "", None))),
        };
        let endpoint = self.endpoints.of(scheme, parts);
        let call = self.call(parts, entry, protocol, operation, labels, caller, endpoint, request_id);
        call.await.map_err(refuse)
    }

    /// Decodes, validates, calls and encodes.
    #[allow(clippy::too_many_arguments, reason = "the one caller has them all in hand")]
    async fn call(
        &self,
        parts: &Parts,
        entry: &Entry,
        protocol: Protocol,
        operation: &'static Operation,
        labels: Labels<'_>,
        (caller, region, body): (Arc<Caller>, Arc<str>, Bytes),
        endpoint: Arc<str>,
        request_id: &str,
    ) -> Result<Response<ResponseBody>, AwsError> {
        let request = codec::Request { parts, labels, body };
        let input = codec::decode(protocol, entry.schema, operation, request)?;
        if let Some(shape) = operation.input {
            validate(entry.schema, shape, &input.members)?;
        }
        let context = RequestContext {
            request_id: request_id.to_owned(),
            region,
            caller,
            endpoint,
            trace_id: parts
                .headers
                .get("x-amzn-trace-id")
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
        };
        let output = run(Arc::clone(&entry.handler), context, operation, input).await?;
        Ok(codec::encode(protocol, entry.schema, operation, output, request_id))
    }

    /// Limit of a form that nobody signed.
    fn form_limit(&self) -> usize {
        match self.mode {
            Mode::Strict => self.limits.body.min(self.limits.unsigned_form),
            Mode::Dev => self.limits.body,
        }
    }

    async fn read<B>(&self, parts: &Parts, body: &mut B, limit: usize, name: &str) -> Result<Bytes, AwsError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        body::read(body, &parts.headers, limit).await.map_err(|error| refuse::unread(error, limit, name))
    }

    fn begin(
        &self,
        signed: &Result<Signed<'_>, SignatureError>,
        entry: &Entry,
    ) -> Result<sigv4::Begun, SignatureError> {
        let signed = signed.as_ref().map_err(Clone::clone)?;
        let now = i64::try_from((self.now)().as_secs()).unwrap_or(i64::MAX);
        self.verifier.begin(signed, entry.schema, now)
    }

    fn dev_caller(&self, signed: &Result<Signed<'_>, SignatureError>) -> (Arc<Caller>, Arc<str>) {
        let Ok(signed) = signed else { return (dev("test"), Arc::clone(&self.default_region)) };
        let scope = Scope::parse(&signed.credential);
        let region = match scope {
            Some(scope) if scope.region == self.default_region.as_ref() => Arc::clone(&self.default_region),
            Some(scope) if !scope.region.is_empty() => scope.region.into(),
            _ => Arc::clone(&self.default_region),
        };
        let caller = match self.verifier.lookup(signed) {
            Lookup::Found { caller, .. } => caller,
            _ => dev(scope.map_or("test", |scope| scope.access_key)),
        };
        (caller, region)
    }
}

/// The operation that a form names, and the API version it gives.
fn action(entry: &Entry, form: &[u8]) -> (Found<'static>, Option<String>) {
    let form = std::str::from_utf8(form).unwrap_or_default();
    let get = |name: &str| uri::pairs(form).find(|(key, _)| key == name).map(|(_, value)| value);
    let version = get("Version").map(Cow::into_owned);
    let found = match get("Action") {
        None => Found::Unknown(String::new()),
        Some(name) => match entry.schema.operation(&name) {
            Some(operation) => Found::Operation(operation, Vec::new()),
            None => Found::Unknown(name.into_owned()),
        },
    };
    (found, version)
}

/// Runs the handler on a task of its own; a panic there is an internal failure of this call only.
async fn run(
    handler: Arc<dyn ServiceHandler>,
    context: RequestContext,
    operation: &'static Operation,
    input: Input,
) -> Result<Output, AwsError> {
    let schema = handler.schema();
    let span = tracing::debug_span!(
        "call",
        request_id = context.request_id,
        service = schema.name,
        operation = operation.name
    );
    let task = tokio::spawn(async move { handler.call(&context, operation, input).await }.instrument(span));
    match task.await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(service = schema.name, operation = operation.name, %error, "handler did not finish");
            Err(refuse::internal(schema))
        }
    }
}

fn dev(access_key: &str) -> Arc<Caller> {
    Arc::new(Caller::root(DEV_ACCOUNT, access_key))
}

#[cfg(test)]
mod tests;
