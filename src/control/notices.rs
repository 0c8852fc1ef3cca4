//! Notices on their way out: what is due, what came of sending it, and what was given up.

use jiff::Timestamp;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::repeat::{Made, Once, gone, made};
use super::{Caller, Control, Fault, Faults, Page, cursor, page, page_length};
use crate::config::Notify;
use crate::model::{Channel, Email, Notice, NoticeId, NoticeStatus, Template};
use crate::store::Settlement;

/// Which notices to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListNotices {
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

/// What came of an attempt to send a notice.
#[derive(Debug)]
pub enum Sent {
    Delivered,
    /// To be tried again then.
    Again {
        due: Timestamp,
        error: String,
    },
    GivenUp {
        error: String,
    },
}

impl Control {
    /// Woken whenever there may be a new notice.
    #[must_use]
    pub fn outbox(&self) -> watch::Receiver<()> {
        self.outbox.subscribe()
    }

    /// The notices to send by now, and when the next of the others is due.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn due_notices(
        &self,
        channel: Channel,
        limit: usize,
    ) -> Result<(Vec<Notice>, Option<Timestamp>), Fault> {
        let (due, next) = self.store.due_notices(channel, self.now(), limit).await?;
        Ok((self.addressed(due), next))
    }

    /// Notes what came of sending one.
    ///
    /// # Errors
    /// When the store cannot be written: it will be sent again.
    pub async fn settle_notice(&self, id: NoticeId, channel: Channel, sent: Sent) -> Result<(), Fault> {
        let settlement = match sent {
            Sent::Delivered => Settlement::Delivered,
            Sent::Again { due, error } => Settlement::Again { due, error },
            Sent::GivenUp { error } => Settlement::GivenUp { at: self.now(), error },
        };
        let settled = self.store.settle_notice(id, channel, settlement).await;
        settled.map_err(|e| Fault::refused(e, "notice"))
    }

    /// The notices that are not delivered.
    ///
    /// # Errors
    /// When a parameter is wrong, the caller may not, or the store cannot be read.
    pub async fn list_notices(&self, caller: &Caller, asked: ListNotices) -> Result<Page<Notice>, Fault> {
        caller.require_workspace()?;
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let before = cursor(asked.cursor.as_deref(), place, &mut faults);
        faults.none()?;
        let found = self.addressed(self.store.notices(before, length + 1).await?);
        Ok(page(found, length, |notice| format!("{}.{}", notice.id, notice.channel.as_str())))
    }

    /// Has a notice sent again at once, also where it was given up; it is then as returned.
    ///
    /// # Errors
    /// When there is none, the caller may not, or the store cannot be written.
    pub async fn retry_notice(
        &self,
        caller: &Caller,
        id: &str,
        once: Option<Once>,
    ) -> Result<Vec<Notice>, Fault> {
        caller.require_workspace()?;
        let id = NoticeId::parse(id).ok_or(Fault::NotFound("notice"))?;
        let act = caller.act_once(self.now(), once);
        let found = match made(self.store.retry_notice(act, id).await, "notice")? {
            Made::Now(found) => found,
            Made::Before(repeat) => {
                self.store.notice(NoticeId::parse(&repeat.subject).ok_or_else(gone)?).await?
            }
        };
        self.outbox.send_replace(());
        Ok(self.addressed(found))
    }

    /// How one stands.
    #[must_use]
    pub fn notice_status(&self, notice: &Notice) -> NoticeStatus {
        if notice.dead_at.is_some() {
            NoticeStatus::Dead
        } else if is_open(notice.channel, &self.config.load().notify) {
            NoticeStatus::Waiting
        } else {
            NoticeStatus::Held
        }
    }

    /// Gives letters that have no owner to go to the address that such go to.
    fn addressed(&self, mut notices: Vec<Notice>) -> Vec<Notice> {
        let config = self.config.load();
        let fallback = config.notify.smtp.as_ref().and_then(|smtp| smtp.to.as_ref()).map(Email::as_str);
        let lost = |notice: &&mut Notice| notice.channel == Channel::Email && notice.recipient.is_empty();
        for notice in notices.iter_mut().filter(lost) {
            fallback.unwrap_or_default().clone_into(&mut notice.recipient);
        }
        notices
    }

    /// A text with secrets that the gateway needs for itself in their places.
    ///
    /// # Errors
    /// When one of them cannot be used; the error says which.
    pub fn own_secret(&self, template: &Template) -> Result<Zeroizing<Vec<u8>>, String> {
        let filled = self.safe.vault.fill(template, None, self.now().as_millisecond());
        filled.map(|filled| filled.text).map_err(|(name, lack)| format!("$Secret{{{name}}} {}", lack.told()))
    }
}

/// Whether notices go out by this way.
#[must_use]
pub fn is_open(channel: Channel, notify: &Notify) -> bool {
    match channel {
        Channel::Email => notify.smtp.is_some(),
        Channel::Webhook => notify.webhook.is_some(),
    }
}

fn place(text: &str) -> Option<(NoticeId, Channel)> {
    let (id, channel) = text.split_once('.')?;
    Some((NoticeId::parse(id)?, Channel::parse(channel)?))
}
