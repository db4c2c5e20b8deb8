package EventSource::XS::Hub::Readiness;
use strict;
use warnings;

# Finds out whether a hub without a process would work: the first worker starts one, if this user can. It starts nothing.

our $VERSION = '0.100';

use EventSource::Hub::Process;
use EventSource::XS::Settings;
use File::Basename qw(dirname);
use IO::Select;
use IO::Socket::IP;
use Scalar::Util qw(blessed);

use filetest 'access';    # a file system may be read-only

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my $TIMEOUT = 2;                                     # seconds
my %PORT    = (redis => 6379, sentinel => 26_379);

# Public methods

sub problem {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('problem takes settings', @given);
    $SETTINGS->known(\%given, [qw(socket store timeout)]);
    $SETTINGS->seconds(timeout => $given{timeout}, is_above_zero => 1);
    return _without_program() || _folder($given{socket}) || _store($given{store}, $given{timeout} || $TIMEOUT);
}

# Private functions

sub _accepts_files {
    my $path = shift;
    return -e $path ? -w $path : -d dirname($path) && -w dirname($path);
}

# True if a server answers in its protocol, whether or not it wants a password first. With TLS it is enough that it accepts.
sub _answers {
    my ($is_tls, $host, $port, $timeout) = @_;
    my $socket = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => $timeout) or return !!0;
    return !!1 if $is_tls;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $socket, "PING\r\n";
    return !!0 if !IO::Select->new($socket)->can_read($timeout) || !sysread $socket, my $answer, 1;
    return $answer =~ /[+-]/;
}

sub _folder {
    my $socket = shift;
    my $folder = dirname($socket);
    return -d $folder && -w $folder ? undef : "no process can start: $folder cannot be written";
}

# The store that a process would inherit, as its URL or path.
sub _store {
    my ($store, $timeout) = @_;
    return undef if !defined $store || $store !~ /\S/ || $store eq 'memory';
    if (my ($path) = $store =~ /\Afile:([^?]+)/) {
        return _accepts_files($path) ? undef : "no process can start: its store $path cannot be written";
    }
    my ($tls, $sentinel, $hosts) = $store =~ m{\Aredis(s?)(-sentinel)?://(?:[^/@]*@)?([^/?]+)}
        or return 'no process can start: EVENTSOURCE_STORE is not the URL of a store';
    my $default = $PORT{$sentinel ? 'sentinel' : 'redis'};
    for my $address (split /,/, $hosts) {
        my ($host, $port) = $address =~ /\A\[?(.+?)\]?(?::([0-9]+))?\z/ or next;
        return undef if _answers($tls, $host, $port || $default, $timeout);
    }
    return "its store does not answer: $hosts";
}

sub _without_program {
    local $@;
    return undef if eval { EventSource::Hub::Process->program; 1 };
    my $error = $@;
    return blessed $error && $error->isa('EventSource::Error') ? $error->message =~ s/\A[\w:]+: //r : "$error";
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Hub::Readiness - Whether a hub that has no process would work

=head1 SYNOPSIS

    use EventSource::XS::Hub::Readiness;

    my $problem = EventSource::XS::Hub::Readiness->problem(
        socket => '/run/user/1000/eventsource/shop.sock',
        store  => $ENV{EVENTSOURCE_STORE},
    );
    print defined $problem ? "not ready: $problem\n" : "ready\n";

=head1 DESCRIPTION

The process of a hub begins with the first stream. Until then C<eventsource hub check> (L<eventsource/hub>) asks with this class
whether one could begin. It starts nothing and writes nothing.

=head1 METHODS

=head2 problem

    my $problem = EventSource::XS::Hub::Readiness->problem(socket => $path, store => $store, timeout => 2);

Return why no process of a hub could begin here, as a clause, or C<undef> if one could: the program is installed, the folder
of C<socket> can be written, and C<store> answers within C<timeout> seconds (above 0, fractions allowed, 2 by default).
C<store> is the text of C<EVENTSOURCE_STORE>; by default it is memory. A file answers if it, or its folder, can be written;
Redis and Sentinels if one of them answers C<PING>, even by asking for a password, or with TLS accepts a connection. Throws
an L<EventSource::Error> with the code C<invalid> for an unknown or wrong setting.

=head1 SEE ALSO

L<EventSource::XS::Hub::Health>, L<EventSource::Hub::Process>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
