//! PublishVersion, ListVersionsByFunction, and the deletion of versions.

use std::ops::Bound;

use lambkin_model::lambda::{
    FunctionConfiguration, ListVersionsByFunctionRequest, ListVersionsByFunctionResponse,
    PublishVersionRequest,
};
use lambkin_model::{AwsError, RequestContext};

use super::catalogue::Entry;
use super::change::{delete, put_version};
use super::create::new_revision_id;
use super::faults::{conflict, invalid, unsupported};
use super::names::{LATEST, Target, Version};
use super::read::{page, place};
use super::record::{FORMAT, FunctionRecord, State, Status, VERSION_KIND, VersionRecord, part_key};
use super::update::check_changeable;
use super::view::Shown;
use super::{Inner, view};
use crate::paging;

impl Inner {
    pub(crate) async fn publish_version(
        &self,
        context: &RequestContext,
        request: PublishVersionRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "PublishVersion", name, None)?.require_latest()?;
        let version = loop {
            let owner = self.owner(&target).await?;
            if request.publish_to.is_some() {
                return Err(unsupported("PublishTo"));
            }
            check_publishable(&target, &owner.record, &request)?;
            if let Some(last) = self.last_if_same(&target, &owner.record).await? {
                break last;
            }
            self.check_code_storage(&target.scope, owner.record.current.code.size, 0)?;
            let mut next = owner.record.clone();
            let version = publish(&mut next, request.description.clone(), self.clock.now_ms());
            if self.commit(vec![owner.put(&next)?, put_version(&target, &version)?]).await? {
                tracing::info!(function = %target.arn(), version = version.number, "version published");
                break version;
            }
        };
        Ok(published(&target, &version))
    }

    /// The last version given, if it is of the code and configuration that `$LATEST` has.
    pub(crate) async fn last_if_same(
        &self,
        target: &Target,
        record: &FunctionRecord,
    ) -> Result<Option<VersionRecord>, AwsError> {
        if record.last_version == 0 {
            return Ok(None);
        }
        let last = self.stored_version(target, record.last_version).await?;
        let now = &record.current;
        Ok(last.filter(|last| last.snapshot.code == now.code && last.snapshot.config == now.config))
    }

    pub(crate) fn list_versions(
        &self,
        context: &RequestContext,
        request: &ListVersionsByFunctionRequest,
    ) -> Result<ListVersionsByFunctionResponse, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "ListVersionsByFunction", name, None)?;
        let found = self.find_target(target.unqualified())?;
        let after = match place(request.marker.as_deref())? {
            None => None,
            Some(text) => Some(Version::parse(&text).ok_or_else(|| invalid("Invalid Marker."))?),
        };
        let page = page(request.max_items);
        let mut versions = versions_after(&found.entry, after, page + 1);
        let next_marker = paging::cut(&mut versions, page, |(version, _)| version);
        let versions =
            versions.iter().map(|(version, shown)| view::listed(&shown.qualified(version))).collect();
        Ok(ListVersionsByFunctionResponse { versions: Some(versions), next_marker })
    }

    /// Deletes a published version with its settings; one that is not there is as good as deleted.
    pub(crate) async fn delete_version(&self, target: &Target, number: u64) -> Result<(), AwsError> {
        loop {
            let owner = self.owner(target).await?;
            if self.stored_version(target, number).await?.is_none() {
                return Ok(());
            }
            let aliases = self.stored_aliases(target).await?;
            let users: Vec<&str> =
                aliases.iter().filter(|alias| alias.leads_to(number)).map(|alias| &*alias.name).collect();
            if !users.is_empty() {
                return Err(conflict(format!(
                    "Unable to delete version because the following aliases reference it: [{}]",
                    users.join(", ")
                )));
            }
            let qualifier = number.to_string();
            let key = part_key(&target.scope, &target.name, &qualifier);
            let mut writes = vec![owner.touch()?, delete(VERSION_KIND, key)];
            writes.extend(self.delete_dependents_of(target, &qualifier));
            if self.commit(writes).await? {
                let arn = target.scope.function_arn(&target.name);
                self.invoker.retire(&format!("{arn}:{number}"), None);
                tracing::info!(function = %arn, version = number, "version deleted");
                return Ok(());
            }
        }
    }
}

/// Makes the current state the next version.
pub(crate) fn publish(
    record: &mut FunctionRecord,
    description: Option<String>,
    now_ms: i64,
) -> VersionRecord {
    record.last_version += 1;
    let mut snapshot = record.current.clone();
    snapshot.revision_id = new_revision_id();
    VersionRecord {
        v: FORMAT,
        number: record.last_version,
        published_ms: now_ms,
        description,
        snapshot,
        state: Status::being_created(State::Pending),
    }
}

/// A version as the operations that publish it answer it.
pub(crate) fn published(target: &Target, version: &VersionRecord) -> FunctionConfiguration {
    let qualifier = version.number.to_string();
    view::configuration(&Shown::version(&target.scope, &target.name, version).qualified(&qualifier))
}

/// `$LATEST` and the published versions in order, those after `after`, at most `limit`, each with its name.
pub(crate) fn versions_after(
    entry: &Entry,
    after: Option<Version>,
    limit: usize,
) -> Vec<(String, Shown<'_>)> {
    let latest = after.is_none().then(|| (LATEST.to_owned(), Shown::latest(&entry.scope, &entry.record)));
    let start = match after {
        Some(Version::Number(number)) => Bound::Excluded(number),
        Some(Version::Latest) | None => Bound::Unbounded,
    };
    let published = entry.versions.range((start, Bound::Unbounded)).map(|(number, version)| {
        (number.to_string(), Shown::version(&entry.scope, &entry.record.name, &version.record))
    });
    latest.into_iter().chain(published).take(limit).collect()
}

/// A version is made of a state that has been prepared and is the one that the caller means.
fn check_publishable(
    target: &Target,
    record: &FunctionRecord,
    request: &PublishVersionRequest,
) -> Result<(), AwsError> {
    check_changeable(target, record, request.revision_id.as_deref())?;
    if record.state.is == State::Failed {
        return Err(conflict(
            "The operation cannot be performed at this time. The function is currently in the following state: \
             Failed",
        ));
    }
    let present = view::base64_sha256(&record.current.code.sha256);
    match request.code_sha256.as_deref().filter(|asked| !asked.is_empty()) {
        Some(asked) if asked != present => Err(invalid(format!(
            "CodeSHA256 ({asked}) is different from current CodeSHA256 in $LATEST ({present}). Please try again \
             with the CodeSHA256 in $LATEST."
        ))),
        _ => Ok(()),
    }
}
