package EventSource::XS::Test::Remote;
use strict;
use warnings;

# A running server: connects to it and sends requests.

use EventSource::XS::Settings;
use IO::Socket::INET;
use Scalar::Util qw(weaken);
use URI;

my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');

my $CONNECT_WITHIN = 10;    # seconds

# Handles that a server forked from this process must close. Otherwise it would keep connections open that are closed
# here.
my @NOT_INHERITED;

sub new {
    my ($class, %option) = @_;
    my $uri = URI->new($option{url});
    $SETTINGS->refuse(url => "url must begin with http://, not '$option{url}'")
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
    ) or $SETTINGS->throw(unavailable => 'no connection to ' . $self->url . ": $@");
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
