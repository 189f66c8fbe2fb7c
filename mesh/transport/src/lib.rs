//! ZMTP over an epoll reactor: the sockets of the mesh.
