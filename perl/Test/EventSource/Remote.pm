package Test::EventSource::Remote;
use strict;
use warnings;

# A server that runs somewhere: connects to it and sends a request.

our $VERSION = '0.100';

use Carp  qw(croak);
use Errno ();
use IO::Socket::INET;
use Scalar::Util qw(weaken);
use URI;

our @CARP_NOT = qw(Test::EventSource Test::EventSource::Stream);

my $CONNECT_WITHIN = 10;    # seconds

# What a server that is forked from this process is not to hold: it would keep connections open that are closed here.
my @NOT_INHERITED;

sub new {
    my ($class, %option) = @_;
    my $uri = URI->new($option{url});
    croak "Test::EventSource: url must begin with http://, not '$option{url}'" if ($uri->scheme || '') ne 'http';
    return bless {host => $uri->host, port => $uri->port, prefix => $uri->path =~ s{/\z}{}r}, $class;
}

# Public functions and methods

# Connects, gives the stream its end of the connection, and sends the request.
sub begin {
    my ($self, $stream, $request) = @_;
    my $socket = IO::Socket::INET->new(
        PeerAddr => $self->{host},
        PeerPort => $self->{port},
        Proto    => 'tcp',
        Timeout  => $CONNECT_WITHIN,
    ) or croak 'Test::EventSource: no connection to ' . $self->url . ": $@";
    $stream->attach($socket);
    local $SIG{PIPE} = 'IGNORE';
    while (length $request) {
        my $sent = syswrite $socket, $request;
        next if !defined $sent && $!{EINTR};
        last if !defined $sent;                # there may be an answer all the same
        substr $request, 0, $sent, '';
    }
    return;
}

# In a child: closes what is the parent's.
sub close_inherited {
    for my $handle (splice @NOT_INHERITED) { CORE::close $handle if $handle }
    return;
}

sub host { return "$_[0]{host}:$_[0]{port}" }

sub log { return '' }

# What has been printed since this was asked last: what failures show.
sub news {
    my $self = shift;
    my $log  = $self->log;
    my $news = substr $log, $self->{told} || 0;
    $self->{told} = length $log;
    return $news;
}

sub not_inherited {
    my ($class, @handles) = @_;
    for my $handle (@handles) {
        push @NOT_INHERITED, $handle;
        weaken $NOT_INHERITED[-1];
    }
    @NOT_INHERITED = grep { defined } @NOT_INHERITED;
    weaken $_ for @NOT_INHERITED;    # the copies that grep gives are strong
    return;
}

sub pid { return undef }

sub prefix { return $_[0]{prefix} }

sub url { return "http://$_[0]{host}:$_[0]{port}$_[0]{prefix}" }

1;
__END__

=encoding utf8

=head1 NAME

Test::EventSource::Remote - A server that runs already

=head1 SYNOPSIS

    use Test::EventSource::Remote;

    my $server = Test::EventSource::Remote->new(url => 'http://127.0.0.1:5000/app');
    print $server->prefix, "\n";    # /app

=head1 DESCRIPTION

One of the places where an application runs for L<Test::EventSource>; L<Test::EventSource::Server> is built on it, and
L<Test::EventSource::InProcess> has the same methods.

=head1 METHODS

=head2 new

    my $server = Test::EventSource::Remote->new(url => $url);

Croaks if the URL is not one of C<http>.

=head2 begin

    $server->begin($stream, $request, %options);

Connects, calls C<< $stream->attach($socket) >>, and sends a request. Croaks if there is no connection.

=head2 close_inherited, not_inherited

    Test::EventSource::Remote->not_inherited(@handles);

What is to be closed in a child that becomes a server; and the closing.

=head2 host, pid, prefix, url

The host and port of requests; the server's process; what is put before each path; the whole.

=head2 log, news

All that the server has printed; what it has printed since this was asked last.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
