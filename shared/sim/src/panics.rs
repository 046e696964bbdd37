//! Tasks that end with a panic: in a daemon one ends the process, and here it must not pass unnoticed.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    /// What the first panic on this thread said, since somebody looked.
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics are noted, besides what is done about them anyway. None is known at first.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let as_before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            FIRST.with_borrow_mut(|first| first.get_or_insert_with(|| info.to_string()).len());
            as_before(info);
        }));
    });
    FIRST.take();
}

/// What the first panic on this thread said since it is watched, if there was one.
pub(crate) fn first() -> Option<String> {
    FIRST.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_noticed() {
        watch();
        assert_eq!(first(), None);
        let task = tokio::spawn(async { panic!("out of range") });
        assert!(task.await.is_err());
        assert!(first().is_some_and(|said| said.contains("out of range")));
        watch();
        assert_eq!(first(), None);
    }
}
