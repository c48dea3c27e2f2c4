# cpack -G DEB: one Debian package with programs, library, header, man pages, completion, examples and documents. The tools' bare
# names stay out of it (Debian has an `extract` of its own), what is linked with is found by dpkg-shlibdeps (package dpkg-dev).
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME malseq)
set(CPACK_PACKAGE_VENDOR "the malseq authors")
set(CPACK_PACKAGE_CONTACT "the malseq authors <malseq@localhost>")
set(CPACK_PACKAGE_DESCRIPTION "Builds labelled corpora of Windows API-call sequences and trains detectors on them: collects samples from
repositories, labels them by VirusTotal, takes the calls from sandboxes' reports, trains and compares models,
and judges new reports. Never runs a sample, and stores them so that nothing else does.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};malseq;Unspecified;/") # all but the components bare_names and outside_packages
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
# https wants certificates; the demo's world is Python. libarchive reads what strangers packed: the version of Debian's security archive. It is no
# hard dependency, for the package could then not be installed where only bookworm/main is set up.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, python3, libarchive13 (>= 3.6.2-1+deb12u5)")
include(CPack)
