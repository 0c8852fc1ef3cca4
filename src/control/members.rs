//! Who may use the admin side.

use super::caller::RESERVED;
use super::leaks::outlets;
use super::repeat::{Made, Once, gone, made};
use super::{Caller, Control, Fault, Faults, Page, cursor, page, page_length};
use crate::model::{Email, Member, MemberName};
use crate::store::{MemberEdit, Removal, Repeat};

/// A member as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct AddMember {
    pub name: Option<String>,
    pub email: Option<String>,
    pub once: Option<Once>,
    pub faults: Faults,
}

/// What is to change; what is `None` stays. `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct EditMember {
    pub name: Option<String>,
    /// `Some(None)`: none any more.
    pub email: Option<Option<String>>,
    pub expected: Option<Vec<u64>>,
    pub faults: Faults,
}

/// Which page of members to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListMembers {
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

impl Control {
    /// The member, and whether this call added them.
    ///
    /// # Errors
    /// When a field is wrong, the caller may not, or the store cannot be written.
    pub async fn add_member(&self, caller: &Caller, asked: AddMember) -> Result<(Member, bool), Fault> {
        caller.require_workspace()?;
        let mut faults = asked.faults;
        let act = caller.act_once(self.now(), asked.once);
        if let Some(repeat) = self.earlier(&act).await? {
            return self.member_added_before(&repeat).await;
        }
        let name = name("name", asked.name.as_deref(), &mut faults);
        let email = asked.email.as_deref().map(|email| faults.name("email", email, Email::parse));
        faults.none()?;
        let Some(name) = name else { return Err(Fault::Invalid(Vec::new())) };
        match made(self.store.add_member(act, name, email.flatten()).await, "member")? {
            Made::Now((member, revision)) => {
                self.reached.wait(revision).await;
                Ok((member, true))
            }
            Made::Before(repeat) => self.member_added_before(&repeat).await,
        }
    }

    async fn member_added_before(&self, repeat: &Repeat) -> Result<(Member, bool), Fault> {
        self.reached.wait(repeat.revision).await;
        Ok((self.find_member(&repeat.subject).await?.ok_or_else(gone)?, false))
    }

    /// # Errors
    /// When a parameter is wrong, the caller may not, or the store cannot be read.
    pub async fn list_members(&self, caller: &Caller, asked: ListMembers) -> Result<Page<Member>, Fault> {
        caller.require_workspace()?;
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let before = cursor(asked.cursor.as_deref(), |text| text.parse().ok(), &mut faults);
        faults.none()?;
        let found = self.store.members(before, length + 1).await?;
        Ok(page(found, length, |member| member.number.to_string()))
    }

    /// # Errors
    /// When there is no such member, the caller may not, or the store cannot be read.
    pub async fn show_member(&self, caller: &Caller, name: &str) -> Result<Member, Fault> {
        caller.require_workspace()?;
        self.find_member(name).await?.ok_or(Fault::NotFound("member"))
    }

    /// # Errors
    /// When a field is wrong, there is no such member, the caller may not, or the store cannot be written.
    pub async fn edit_member(&self, caller: &Caller, of: &str, asked: EditMember) -> Result<Member, Fault> {
        caller.require_workspace()?;
        let of = MemberName::parse(of).map_err(|_| Fault::NotFound("member"))?;
        let mut faults = asked.faults;
        let name = asked.name.as_deref().and_then(|asked| name("name", Some(asked), &mut faults));
        let email =
            asked.email.map(|email| email.and_then(|email| faults.name("email", &email, Email::parse)));
        faults.none()?;
        let edit = MemberEdit { name, email, expected: asked.expected };
        let edited = self.store.edit_member(caller.act(self.now()), of, edit).await;
        let (member, revision) = edited.map_err(|e| Fault::refused(e, "member"))?;
        self.reached.wait(revision).await;
        Ok(member)
    }

    /// Removes a member and ends all that they made.
    ///
    /// # Errors
    /// When there is no such member, none would be left who may do everything, the caller may not, or the store cannot
    /// be written.
    pub async fn remove_member(&self, caller: &Caller, name: &str) -> Result<Removal, Fault> {
        caller.require_workspace()?;
        let name = MemberName::parse(name).map_err(|_| Fault::NotFound("member"))?;
        let _hurry = self.reached.hurry();
        // The operator needs no key to do everything.
        let keep_an_admin = caller.member().is_some();
        let removed = self
            .store
            .remove_member(caller.act(self.now()), name, keep_an_admin, outlets(&self.config.load()))
            .await;
        self.outbox.send_replace(());
        let removed = removed.map_err(|e| Fault::refused(e, "member"))?;
        self.reached.wait(removed.revision).await;
        Ok(removed)
    }

    async fn find_member(&self, name: &str) -> Result<Option<Member>, Fault> {
        match MemberName::parse(name) {
            Ok(name) => Ok(self.store.member(name).await?),
            Err(_) => Ok(None),
        }
    }
}

/// A member's name that stands for nobody else.
pub(super) fn name(field: &str, asked: Option<&str>, faults: &mut Faults) -> Option<MemberName> {
    let Some(asked) = asked else {
        faults.add(field, "is missing: the name of a person or automation, as in `ann` or `ci@example.com`");
        return None;
    };
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(asked)) {
        faults.add(field, format!("`{asked}` stands for someone else in the audit log: choose another name"));
    }
    faults.name(field, asked, MemberName::parse)
}
