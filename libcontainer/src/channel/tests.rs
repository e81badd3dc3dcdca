//! Messages and what travels with them.

use super::*;

#[test]
fn every_message_survives_the_way() {
    let failure = Failure { step: Step::Mount(3), stop: Stop::new(Call::Mount, Errno::EPERM) };
    let (ours, theirs) = Channel::pair().unwrap();
    let messages = MILESTONES.iter().flat_map(|m| [Message::Reached(*m), Message::Go(*m)]);
    for message in
        messages.chain([Message::Forked(7), Message::Again(7), Message::Sources(7), Message::Failed(failure)])
    {
        theirs.send(message).unwrap();
        assert_eq!(ours.receive(), Ok(Some(message)));
    }
    drop(theirs);
    assert_eq!(ours.receive(), Ok(None));
}

#[test]
fn sources_travel_in_their_order_and_as_many_as_fit() {
    let (ours, theirs) = Channel::pair().unwrap();
    let files: Vec<OwnedFd> =
        (0..socket::DESCRIPTORS_MAX).map(|_| OwnedFd::from(tempfile::tempfile().unwrap())).collect();
    let inode = |fd: &OwnedFd| crate::sys::fs::kind(fd.as_fd()).unwrap().identity;
    for count in [0, 1, files.len()] {
        let mut sources = [const { None }; socket::DESCRIPTORS_MAX];
        ours.send_sources(&files[..count]).unwrap();
        theirs.fetch_sources(7, &mut sources).unwrap();
        assert_eq!(ours.receive(), Ok(Some(Message::Sources(7))));
        let got: Vec<_> = sources.iter().map_while(Option::as_ref).map(inode).collect();
        assert_eq!(got, files[..count].iter().map(inode).collect::<Vec<_>>());
    }
    drop(ours);
    let mut sources = [const { None }; socket::DESCRIPTORS_MAX];
    assert!(theirs.fetch_sources(7, &mut sources).is_err());
}

#[test]
fn a_failure_and_its_words_are_one_message() {
    let failure = Failure { step: Step::Exec, stop: Stop::new(Call::Execve, Errno::ENOEXEC) };
    let (ours, theirs) = Channel::pair().unwrap();
    theirs.send_failure(failure, b"/bin/x").unwrap();
    theirs.send(Message::Forked(7)).unwrap();
    theirs.send_failure(failure, &[b'x'; 2 * WORDS]).unwrap();
    theirs.send_failure(failure, b"not asked for").unwrap();
    drop(theirs);
    let failed = Message::Failed(failure);
    assert_eq!(ours.receive_words(), Ok(Some((failed, b"/bin/x".to_vec()))));
    assert_eq!(ours.receive_words(), Ok(Some((Message::Forked(7), Vec::new()))));
    assert_eq!(ours.receive_words(), Ok(Some((failed, vec![b'x'; WORDS]))));
    assert_eq!(ours.receive(), Ok(Some(failed)));
    assert_eq!(ours.receive_words(), Ok(None));
}

#[test]
fn a_frame_of_noise_is_no_message() {
    assert_eq!(Message::decode([0xff; FRAME]), None);
    let (ours, theirs) = Channel::pair().unwrap();
    socket::send(theirs.fd(), b"short").unwrap();
    assert_eq!(ours.receive(), Err(Stop::new(Call::Recv, Errno::EBADMSG)));
}
