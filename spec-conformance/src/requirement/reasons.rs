//! Reasons that several waivers share.

pub(super) const ELSEWHERE: &str = "binds another platform: needs that platform, and a runtime for it";
pub(super) const IMAGE: &str = "binds whoever made the configuration from an image: needs that image";
pub(super) const RDT: &str = "needs a processor and a kernel with resctrl";
pub(super) const RDMA: &str = "needs an RDMA device";
