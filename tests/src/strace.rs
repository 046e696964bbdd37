//! What strace saw a node do.
