package EventSource::XS::Address;
use strict;
use warnings;

# Addresses of clients in one form. A server that listens on [::] gives an IPv4 client as ::ffff:192.0.2.7 (RFC 4291, section
# 2.5.5.2): here that is 192.0.2.7 everywhere. A proxy may add the port of the client, as Azure's gateway does.

use Socket qw(AF_INET AF_INET6 inet_ntop inet_pton);

# The addresses that servers give a client of a Unix socket: the word, perhaps with a path, nothing, or the address of no
# client.
my $NO_ADDRESS = qr{\A(?:unix(?:[/:].*)?|)\z}s;

# Return the address in 4 or 16 bytes; undef if it is none. An IPv6 one may name its interface.
sub packed {
    my $text   = $_[1] // '';
    my $packed = $text =~ /\A([0-9A-Fa-f.]*:[^%]*)/ ? inet_pton(AF_INET6, $1) : inet_pton(AF_INET, $text);
    return defined $packed ? $packed =~ s/\A\0{10}\xFF\xFF//r : undef;
}

# Return the address as text, without a port, and so many first bits of an IPv6 one. A text that is no address is returned as it
# is. The client of a Unix socket has none: undef.
sub text {
    my ($class, $text, $bits) = @_;
    return undef if ($text // '') =~ $NO_ADDRESS;
    my $packed = $class->packed($text =~ /\A(?|\[([^]]*)\]|([0-9.]+)(?=:))(?::[0-9]+)?\z/ ? $1 : $text);
    return $text                       if !defined $packed;
    return undef                       if $packed !~ /[^\0]/;
    return inet_ntop(AF_INET, $packed) if length $packed == 4;
    return inet_ntop(AF_INET6, pack 'B128', unpack 'B' . ($bits // 128), $packed);
}

1;
