//! Static description of an AWS service, as botocore's model gives it. Filled in by generated code.

/// A service: its protocols, shapes and operations.
#[derive(Debug)]
pub struct Service {
    /// Lambkin's and botocore's folder name of the service: `lambda`, `logs`, `sts`.
    pub name: &'static str,
    /// Service name in a SigV4 credential scope.
    pub signing_name: &'static str,
    /// `metadata.apiVersion`, e.g. `2015-03-31`.
    pub api_version: &'static str,
    /// Protocols in the model's order of preference; the server serves all of them.
    pub protocols: &'static [Protocol],
    /// Prefix of `X-Amz-Target` for the JSON protocols (`Logs_20140328`), else empty.
    pub target_prefix: &'static str,
    /// XML namespace of answers of the query and XML protocols, else empty.
    pub xml_namespace: &'static str,
    /// Whether old clients of the query protocol expect its error codes (`x-amzn-query-error`).
    pub query_compatible: bool,
    /// All shapes that some operation uses; a [`ShapeId`] is an index here.
    pub shapes: &'static [Shape],
    /// All operations, sorted by name.
    pub operations: &'static [Operation],
}

/// AWS's wire protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JSON bodies, REST routes (`rest-json`).
    RestJson,
    /// `application/x-amz-json-1.0`, operation in `X-Amz-Target`.
    Json10,
    /// `application/x-amz-json-1.1`, operation in `X-Amz-Target`.
    Json11,
    /// Form in, XML out, operation in `Action`.
    Query,
    /// EC2's variant of [`Protocol::Query`].
    Ec2,
    /// XML bodies, REST routes (`rest-xml`).
    RestXml,
    /// `smithy-rpc-v2-cbor`.
    RpcV2Cbor,
}

/// One operation of a service.
#[derive(Debug)]
pub struct Operation {
    /// `CreateFunction`.
    pub name: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Request URI template, e.g. `/2015-03-31/functions/{FunctionName}`; may hold a query part.
    pub uri: &'static str,
    /// HTTP status of success.
    pub status: u16,
    /// Input structure.
    pub input: Option<ShapeId>,
    /// Output structure.
    pub output: Option<ShapeId>,
    /// Name of the element around a query answer (`GetCallerIdentityResult`), else empty.
    pub result_wrapper: &'static str,
    /// Modelled errors.
    pub errors: &'static [ShapeId],
    /// Whether botocore sends this operation unsigned (`authtype: none`).
    pub unsigned: bool,
}

/// Index of a shape in [`Service::shapes`].
pub type ShapeId = u16;

/// A named shape.
#[derive(Debug)]
pub struct Shape {
    /// The model's name, e.g. `FunctionName`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// Kinds of shapes with their constraints. `None` means "not constrained".
#[derive(Debug)]
pub enum Kind {
    /// A structure (also an error or a union).
    Structure(Structure),
    /// A list.
    List {
        /// Element shape.
        member: ShapeId,
        /// Element name on the wire where the model gives one, else empty.
        location_name: &'static str,
        /// Whether elements repeat without a wrapper (query, XML).
        flattened: bool,
        /// Bounds of the length.
        len: Bounds,
    },
    /// A map.
    Map {
        /// Key shape.
        key: ShapeId,
        /// Value shape.
        value: ShapeId,
        /// Name of the key on the wire where the model gives one, else empty.
        key_name: &'static str,
        /// Name of the value on the wire where the model gives one, else empty.
        value_name: &'static str,
        /// Whether entries repeat without a wrapper (query, XML).
        flattened: bool,
        /// Bounds of the number of entries.
        len: Bounds,
    },
    /// A string.
    String {
        /// Bounds of the length in characters.
        len: Bounds,
        /// Regular expression, to be matched whole.
        pattern: Option<&'static str>,
        /// Allowed values; empty for a free string.
        values: &'static [&'static str],
    },
    /// 32-bit integer.
    Integer(Bounds),
    /// 64-bit integer.
    Long(Bounds),
    /// 32-bit float.
    Float(Bounds),
    /// 64-bit float.
    Double(Bounds),
    /// Boolean.
    Boolean,
    /// Bytes.
    Blob {
        /// Bounds of the length in bytes.
        len: Bounds,
        /// Whether the payload is streamed.
        streaming: bool,
    },
    /// Point in time.
    Timestamp(TimestampFormat),
    /// Free-form document.
    Document,
}

/// Inclusive bounds; the model's numbers are integers everywhere Lambkin needs them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Smallest allowed.
    pub min: Option<i64>,
    /// Largest allowed.
    pub max: Option<i64>,
}

/// How a timestamp is written; `Default` leaves it to the protocol and location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// The protocol's own default.
    Default,
    /// `2026-11-23T12:00:00Z`.
    Iso8601,
    /// Epoch seconds.
    UnixTimestamp,
    /// `Mon, 23 Nov 2026 12:00:00 GMT`.
    Rfc822,
}

/// A structure's members.
#[derive(Debug)]
pub struct Structure {
    /// Members in the model's order.
    pub members: &'static [Member],
    /// Name of the member that is the whole body, else empty.
    pub payload: &'static str,
    /// Set where the structure is an error.
    pub error: Option<ErrorInfo>,
    /// Whether it is an event stream.
    pub event_stream: bool,
    /// Whether it is a union (exactly one member set).
    pub union: bool,
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// The model's name; the key in Value form and the serde name of the Rust field.
    pub name: &'static str,
    /// Its shape.
    pub shape: ShapeId,
    /// Where it travels.
    pub location: Location,
    /// Its name there (`locationName`, or the member's name).
    pub wire_name: &'static str,
    /// Name in query requests of list members flattened by `queryName` or the like, else empty.
    pub query_name: &'static str,
    /// Whether it must be present.
    pub required: bool,
    /// Whether its value must never be logged.
    pub sensitive: bool,
    /// Timestamp format given on the member itself.
    pub timestamp_format: Option<TimestampFormat>,
}

/// Where a member travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In the body.
    Body,
    /// In the path.
    Uri,
    /// In the query string.
    Query,
    /// One header.
    Header,
    /// All headers with a prefix.
    Headers,
    /// The HTTP status of the answer.
    StatusCode,
}

/// Facts of a modelled error.
#[derive(Debug, Clone, Copy)]
pub struct ErrorInfo {
    /// HTTP status (`httpStatusCode`; the protocol's default 400 or 500 where the model is silent).
    pub status: u16,
    /// Code on the wire where it differs from the shape's name, else empty.
    pub code: &'static str,
    /// Whether the client is to blame.
    pub sender_fault: bool,
}

impl Service {
    /// Shape by id. Ids come from the same generated table, so an unknown id is a generator bug; it
    /// answers `None`.
    #[must_use]
    pub fn shape(&self, id: ShapeId) -> Option<&'static Shape> {
        self.shapes.get(usize::from(id))
    }

    /// The structure behind an id, if it is one.
    #[must_use]
    pub fn structure(&self, id: ShapeId) -> Option<&'static Structure> {
        match self.shape(id)?.kind {
            Kind::Structure(ref structure) => Some(structure),
            _ => None,
        }
    }

    /// Operation by name.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        let at = self.operations.binary_search_by(|op| op.name.cmp(name)).ok()?;
        self.operations.get(at)
    }
}
