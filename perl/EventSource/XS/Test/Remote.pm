package EventSource::XS::Test::Remote;
use strict;
use warnings;

# A running server: connects to it and sends requests.

our $VERSION = '0.100';

use Errno ();
use EventSource::Error;
use EventSource::XS::Settings;
use IO::Socket::INET;
use Scalar::Util qw(weaken);
use URI;

our @CARP_NOT = qw(Test::EventSource Test::EventSource::Stream);

my $CONNECT_WITHIN = 10;    # seconds

# Handles that a server forked from this process must close. Otherwise it would keep connections open that are closed
# here.
my @NOT_INHERITED;

sub new {
    my ($class, %option) = @_;
    my $uri = URI->new($option{url});
    EventSource::XS::Settings->new('Test::EventSource')
        ->refuse(url => "url must begin with http://, not '$option{url}'")
        if ($uri->scheme || '') ne 'http';
    return bless {host => $uri->host, port => $uri->port, prefix => $uri->path =~ s{/\z}{}r}, $class;
}

# Public functions and methods

sub begin {
    my ($self, $stream, $request) = @_;
    my $socket = IO::Socket::INET->new(
        PeerAddr => $self->{host},
        PeerPort => $self->{port},
        Proto    => 'tcp',
        Timeout  => $CONNECT_WITHIN,
        )
        or EventSource::Error->throw(
        code    => 'unavailable',
        message => 'Test::EventSource: no connection to ' . $self->url . ": $@",
        );
    $stream->attach($socket);
    local $SIG{PIPE} = 'IGNORE';
    while (length $request) {
        my $sent = syswrite $socket, $request;
        next if !defined $sent && $!{EINTR};
        last if !defined $sent;                # The server may have answered nevertheless.
        substr $request, 0, $sent, '';
    }
    return;
}

sub close_inherited {
    for my $handle (splice @NOT_INHERITED) { CORE::close $handle if $handle }
    return;
}

sub host { return "$_[0]{host}:$_[0]{port}" }

sub log { return '' }

sub news {
    my $self = shift;
    my $log  = $self->log;
    my $news = substr $log, $self->{reported} || 0;
    $self->{reported} = length $log;
    return $news;
}

sub not_inherited {
    my ($class, @handles) = @_;
    for my $handle (@handles) {
        push @NOT_INHERITED, $handle;
        weaken $NOT_INHERITED[-1];
    }
    @NOT_INHERITED = grep { defined } @NOT_INHERITED;
    weaken $_ for @NOT_INHERITED;    # grep returns strong copies
    return;
}

sub pid { return undef }

sub prefix { return $_[0]{prefix} }

sub url { return "http://$_[0]{host}:$_[0]{port}$_[0]{prefix}" }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Test::Remote - Send requests to a running server

=head1 SYNOPSIS

    use EventSource::XS::Test::Remote;

    my $server = EventSource::XS::Test::Remote->new(url => 'http://127.0.0.1:5000/app');
    print $server->prefix, "\n";    # /app

=head1 DESCRIPTION

One of the places where an application of L<Test::EventSource> runs. L<EventSource::XS::Test::Server> inherits from it, and
L<EventSource::XS::Test::InProcess> has the same methods.

=head1 METHODS

=head2 new

    my $server = EventSource::XS::Test::Remote->new(url => $url);

Create an object for a URL. Croaks if its scheme is not C<http>.

=head2 begin

    $server->begin($stream, $request, %options);

Connect, call C<< $stream->attach($socket) >>, and send a request, a string of bytes. Croaks if the connection is refused
or takes more than 10 seconds.

=head2 close_inherited, not_inherited

    EventSource::XS::Test::Remote->not_inherited(@handles);
    EventSource::XS::Test::Remote->close_inherited;

Register handles that a forked server must close; in such a child, close them.

=head2 host, pid, prefix, url

    my $host = $server->host;

Return the host and port for a request's C<Host> header; the server's process id, C<undef> if it is not known; the path
that is put before each request's path; the whole URL.

=head2 log, news

    my $text = $server->log;

Return all that the server has printed; return what it has printed since the last call of C<news>.

=head1 SEE ALSO

L<Test::EventSource>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
