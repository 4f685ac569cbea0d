//! Event source mappings: what is to be read from queues and streams for a function. They are kept and shown;
//! nothing reads from a source yet.
//!
//! A mapping is a resource of its own (`resources`) that outlives its function, as in AWS. Requests put it into a
//! state of transition, in which it takes no other request, and the reconciler into a final one. Whatever gives a
//! mapping to a function writes the function's record too, so that no two mappings of the same source to the same
//! function come to be.

mod access;
mod rules;
mod source;

use std::collections::BTreeMap;

use lambkin_core::ids::Scope;
use lambkin_core::metadata::{Revision, StoreError};
use lambkin_model::lambda::{
    CreateEventSourceMappingRequest, DeleteEventSourceMappingRequest, EventSourceMappingConfiguration,
    GetEventSourceMappingRequest, ListEventSourceMappingsRequest, ListEventSourceMappingsResponse,
    UpdateEventSourceMappingRequest, errors,
};
use lambkin_model::{AwsError, RequestContext, Timestamp};
use serde::{Deserialize, Serialize};

use super::faults::{self, conflict, not_found};
use super::names::{self, Target};
use super::read::place;
use super::record::FORMAT;
use super::resources::{self, Resource};
use super::{Inner, tags};
use crate::paging;
use rules::Settings;
use source::Source;

/// Most mappings in one answer, whatever MaxItems says.
const PAGE: usize = 100;

/// An event source mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mapping {
    v: u32,
    uuid: String,
    state: State,
    /// What it is or will be once it is settled.
    enabled: bool,
    modified_ms: i64,
    settings: Settings,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Creating,
    Enabling,
    Enabled,
    Disabling,
    Disabled,
    Updating,
    Deleting,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Enabling => "Enabling",
            Self::Enabled => "Enabled",
            Self::Disabling => "Disabling",
            Self::Disabled => "Disabled",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
        }
    }
}

impl Resource for Mapping {
    const KIND: &'static str = "lambda.event-source-mapping";

    fn format(&self) -> u32 {
        self.v
    }
}

impl tags::Tagged for Mapping {
    fn tags(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.tags
    }
}

impl Mapping {
    pub(crate) fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Whether a request is still being carried out.
    pub(crate) fn is_unsettled(&self) -> bool {
        !matches!(self.state, State::Enabled | State::Disabled)
    }

    fn source(&self) -> Option<Source> {
        rules::source_of_settings(&self.settings)
    }

    fn function_arn(&self) -> &str {
        self.settings.function_arn.as_deref().unwrap_or_default()
    }

    /// Whether another mapping delivers the same to the same function.
    fn is_same_as(&self, other: &Self) -> bool {
        let (one, other) = (&self.settings, &other.settings);
        let collection = |settings: &Settings| {
            let config = settings.document_db_event_source_config.clone();
            config.map(|config| (config.database_name, config.collection_name))
        };
        one.function_arn == other.function_arn
            && one.event_source_arn == other.event_source_arn
            && one.self_managed_event_source == other.self_managed_event_source
            && one.topics == other.topics
            && one.queues == other.queues
            && collection(one) == collection(other)
    }

    /// The Kafka consumer group.
    fn group(&self) -> Option<&str> {
        let managed = self.settings.amazon_managed_kafka_event_source_config.as_ref();
        let own = self.settings.self_managed_kafka_event_source_config.as_ref();
        managed
            .and_then(|config| config.consumer_group_id.as_deref())
            .or_else(|| own.and_then(|config| config.consumer_group_id.as_deref()))
    }

    /// Whether another mapping is in the same Kafka consumer group, of which there is one for each mapping.
    fn shares_group_with(&self, other: &Self) -> bool {
        self.group().is_some() && self.group() == other.group()
    }

    /// The mapping as the API shows it.
    fn view(&self, scope: &Scope) -> EventSourceMappingConfiguration {
        EventSourceMappingConfiguration {
            uuid: Some(self.uuid.clone()),
            event_source_mapping_arn: Some(arn(scope, &self.uuid)),
            last_modified: Some(Timestamp(self.modified_ms)),
            state: Some(self.state.name().to_owned()),
            state_transition_reason: Some(self.reason()),
            ..self.settings.clone()
        }
    }

    /// AWS's words for who made the last change; of a mapping that ought to deliver, that it does not.
    fn reason(&self) -> String {
        let source = self.source();
        let user = if source.is_some_and(Source::is_stream) { "User action" } else { "USER_INITIATED" };
        match source {
            Some(source) if self.enabled && self.state != State::Deleting => {
                format!(
                    "{user}. Lambkin does not read from {} yet: no records reach the function.",
                    source.name()
                )
            }
            _ => user.to_owned(),
        }
    }

    /// Says in the log what the mapping does not do.
    fn warn(&self) {
        if self.enabled {
            tracing::warn!(
                mapping = %self.uuid,
                function = %self.function_arn(),
                "nothing reads from event sources yet: the event source mapping is kept, and no records reach the function"
            );
        }
    }
}

/// ARN of a mapping.
fn arn(scope: &Scope, uuid: &str) -> String {
    format!("arn:{}:lambda:{}:{}:event-source-mapping:{uuid}", scope.partition(), scope.region, scope.account)
}

/// "The resource you requested does not exist."
pub(crate) fn absent() -> AwsError {
    not_found("The resource you requested does not exist.")
}

fn in_use(what: &str) -> AwsError {
    let text = format!("Cannot {what} the event source mapping because it is in use.");
    errors::resource_in_use_exception(text).with("Type", "User")
}

/// The id of a mapping as it is kept.
fn id_of(uuid: Option<&str>) -> String {
    uuid.unwrap_or_default().to_ascii_lowercase()
}

impl Inner {
    pub(crate) async fn create_mapping(
        &self,
        context: &RequestContext,
        request: CreateEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, AwsError> {
        let operation = "CreateEventSourceMapping";
        let target = self.mapped_function(context, operation, request.function_name.as_deref())?;
        let source = rules::source_of(&request, &context.region)?;
        let tags = tags::check(BTreeMap::new(), request.tags.clone().unwrap_or_default())?;
        let uuid = uuid::Uuid::new_v4().to_string();
        let now_ms = self.clock.now_ms();
        let mut settings = rules::create(&request, source, &uuid, now_ms)?;
        settings.function_arn = Some(target.arn());
        let enabled = request.enabled.unwrap_or(true);
        let mapping =
            Mapping { v: FORMAT, uuid, state: State::Creating, enabled, modified_ms: now_ms, settings, tags };
        loop {
            let owner = self.owner(&target).await?;
            self.check_qualifier(&target).await?;
            self.check_unique(&target.scope, &mapping).await?;
            let create = resources::create(&target.scope, &mapping.uuid, &mapping)?;
            if self.commit(vec![owner.touch()?, create]).await? {
                break;
            }
        }
        tracing::info!(
            mapping = %mapping.uuid, function = %mapping.function_arn(), source = source.name(),
            "event source mapping created"
        );
        mapping.warn();
        Ok(mapping.view(&target.scope))
    }

    pub(crate) fn get_mapping(
        &self,
        context: &RequestContext,
        request: &GetEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, AwsError> {
        let scope = names::scope_of(context);
        let id = id_of(request.uuid.as_deref());
        let mapping = self.catalogue.resource::<Mapping>(&scope, &id).ok_or_else(absent)?;
        Ok(mapping.view(&scope))
    }

    pub(crate) fn list_mappings(
        &self,
        context: &RequestContext,
        request: &ListEventSourceMappingsRequest,
    ) -> Result<ListEventSourceMappingsResponse, AwsError> {
        let scope = names::scope_of(context);
        let function = request.function_name.as_deref().filter(|name| !name.is_empty());
        // Mappings outlive their function, so it need not exist.
        let function = match function {
            Some(name) => Some(names::resolve(context, "ListEventSourceMappings", Some(name), None)?.arn()),
            None => None,
        };
        let source = request.event_source_arn.as_deref().filter(|arn| !arn.is_empty());
        let after = place(request.marker.as_deref())?;
        let page = request.max_items.and_then(|items| usize::try_from(items).ok()).unwrap_or(PAGE);
        let page = page.clamp(1, PAGE);
        let mut mappings =
            self.catalogue.resources::<Mapping>(&scope, after.as_deref(), page + 1, |mapping| {
                function.as_deref().is_none_or(|function| mapping.function_arn() == function)
                    && source
                        .is_none_or(|source| mapping.settings.event_source_arn.as_deref() == Some(source))
            });
        let next_marker = paging::cut(&mut mappings, page, |mapping| &mapping.uuid);
        let mappings = mappings.iter().map(|mapping| mapping.view(&scope));
        Ok(ListEventSourceMappingsResponse { event_source_mappings: Some(mappings.collect()), next_marker })
    }

    pub(crate) async fn update_mapping(
        &self,
        context: &RequestContext,
        request: UpdateEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, AwsError> {
        let scope = names::scope_of(context);
        let id = id_of(request.uuid.as_deref());
        let target = match request.function_name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => Some(self.mapped_function(context, "UpdateEventSourceMapping", Some(name))?),
            None => None,
        };
        let asked = asked(request);
        let mapping = loop {
            let (mut mapping, revision) =
                self.stored_resource::<Mapping>(&scope, &id).await?.ok_or_else(absent)?;
            if mapping.is_unsettled() {
                return Err(in_use("update"));
            }
            let source = mapping.source().ok_or_else(|| faults::service("a mapping of no known source"))?;
            mapping.settings = rules::update(&mapping.settings, &asked, source)?;
            mapping.v = FORMAT;
            mapping.modified_ms = self.clock.now_ms();
            let enabled = asked.enabled.unwrap_or(mapping.enabled);
            mapping.state = match (mapping.enabled, enabled) {
                (false, true) => State::Enabling,
                (true, false) => State::Disabling,
                _ => State::Updating,
            };
            mapping.enabled = enabled;
            let mut writes = Vec::new();
            if let Some(target) = &target {
                mapping.settings.function_arn = Some(target.arn());
                writes.push(self.owner(target).await?.touch()?);
                self.check_qualifier(target).await?;
                self.check_unique(&scope, &mapping).await?;
            }
            writes.push(resources::replace(&scope, &id, revision, Some(&mapping))?);
            if self.commit(writes).await? {
                break mapping;
            }
        };
        if mapping.state == State::Enabling {
            mapping.warn();
        }
        Ok(mapping.view(&scope))
    }

    pub(crate) async fn delete_mapping(
        &self,
        context: &RequestContext,
        request: DeleteEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, AwsError> {
        let scope = names::scope_of(context);
        let id = id_of(request.uuid.as_deref());
        let now_ms = self.clock.now_ms();
        let deleting = self
            .change_resource::<Mapping>(&scope, &id, absent, |mapping| {
                if mapping.is_unsettled() {
                    return Err(in_use("delete"));
                }
                Ok(Some(Mapping { v: FORMAT, state: State::Deleting, modified_ms: now_ms, ..mapping }))
            })
            .await?;
        let deleting = deleting.ok_or_else(absent)?;
        tracing::info!(mapping = %id, function = %deleting.function_arn(), "event source mapping deleted");
        Ok(deleting.view(&scope))
    }

    /// Puts a mapping into its final state, unless it has changed since that revision.
    ///
    /// # Errors
    /// A failed store.
    pub(crate) async fn settle_mapping(
        &self,
        scope: &Scope,
        mapping: &Mapping,
        revision: Revision,
    ) -> Result<(), StoreError> {
        let next = (mapping.state != State::Deleting).then(|| Mapping {
            state: if mapping.enabled { State::Enabled } else { State::Disabled },
            modified_ms: self.clock.now_ms(),
            ..mapping.clone()
        });
        let write = resources::replace(scope, &mapping.uuid, revision, next.as_ref())
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        match self.metadata.commit(vec![write]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The function that a mapping is to invoke, which must be the caller's own; whether it exists is not asked.
    fn mapped_function(
        &self,
        context: &RequestContext,
        operation: &str,
        name: Option<&str>,
    ) -> Result<Target, AwsError> {
        names::resolve(context, operation, name, None)?;
        self.resolve(context, operation, name, None)
    }

    /// Refuses a mapping beside another that delivers the same to the same function, and a Kafka consumer group
    /// that another mapping has. Whoever commits the mapping has read the function's record before.
    async fn check_unique(&self, scope: &Scope, mapping: &Mapping) -> Result<(), AwsError> {
        self.catalogue.catch_up().await.map_err(faults::store)?;
        let others = self.catalogue.resources::<Mapping>(scope, None, usize::MAX, |other| {
            other.uuid != mapping.uuid && (mapping.is_same_as(other) || mapping.shares_group_with(other))
        });
        let Some(other) = others.iter().find(|other| mapping.is_same_as(other)).or(others.first()) else {
            return Ok(());
        };
        let source = mapping.settings.event_source_arn.as_deref().unwrap_or("self-managed Apache Kafka");
        let function = mapping.function_arn();
        let function = names::parse(function).map_or(function, |parsed| parsed.name);
        let uuid = &other.uuid;
        Err(conflict(match mapping.source() {
            _ if !mapping.is_same_as(other) => {
                format!("The Kafka consumer group is that of the event source mapping with UUID {uuid}")
            }
            Some(Source::Queue { .. }) => format!(
                "An event source mapping with SQS arn (\" {source} \") and function (\" {function} \") already exists. \
                 Please update or delete the existing mapping with UUID {uuid}"
            ),
            _ => format!(
                "The event source arn (\" {source} \") and function (\" {function} \") provided mapping already \
                 exists. Please update or delete the existing mapping with UUID {uuid}"
            ),
        }))
    }
}

/// An update in the form of a creation: it has fewer members, of the same meaning.
fn asked(update: UpdateEventSourceMappingRequest) -> CreateEventSourceMappingRequest {
    CreateEventSourceMappingRequest {
        enabled: update.enabled,
        batch_size: update.batch_size,
        filter_criteria: update.filter_criteria,
        kms_key_arn: update.kms_key_arn,
        metrics_config: update.metrics_config,
        logging_config: update.logging_config,
        scaling_config: update.scaling_config,
        maximum_batching_window_in_seconds: update.maximum_batching_window_in_seconds,
        parallelization_factor: update.parallelization_factor,
        destination_config: update.destination_config,
        maximum_record_age_in_seconds: update.maximum_record_age_in_seconds,
        bisect_batch_on_function_error: update.bisect_batch_on_function_error,
        maximum_retry_attempts: update.maximum_retry_attempts,
        tumbling_window_in_seconds: update.tumbling_window_in_seconds,
        source_access_configurations: update.source_access_configurations,
        function_response_types: update.function_response_types,
        amazon_managed_kafka_event_source_config: update.amazon_managed_kafka_event_source_config,
        self_managed_kafka_event_source_config: update.self_managed_kafka_event_source_config,
        document_db_event_source_config: update.document_db_event_source_config,
        provisioned_poller_config: update.provisioned_poller_config,
        ..Default::default()
    }
}
