package EventSource::XS::Client::Transport::NetAsyncHTTP;
use strict;
use warnings;

# A request of a client over Net::Async::HTTP, in IO::Async. The library connects and sends the request; the bytes of the answer
# go to this module. The library would throw exceptions in the application's loop at what is not HTTP, and would keep a chunk
# until it is complete.

use parent 'EventSource::XS::Client::Transport';
use HTTP::Request;
use IO::Async::Loop;
use Net::Async::HTTP;

my $READ        = 65_536;    # bytes
my $VERIFY_PEER = 1;         # of IO::Socket::SSL; the library checks nothing where it finds no authorities

# The loop of the process has to exist before a timer is set.
sub loop {
    local $SIG{__DIE__};     # the library tries several modules
    IO::Async::Loop->new;
    return 'IO::Async';
}

sub open {
    my ($class, $request, $on) = @_;
    my $self = $class->new($on);
    my $link = $self->{link};
    my $http = $self->{http} = Net::Async::HTTP->new(
        max_connections_per_host => 1,
        max_in_flight            => 1,
        max_redirects            => 0,
        on_error                 => sub { $$link->lost($_[1]) if $$link },
        read_len                 => $READ,
        user_agent               => undef,
        SSL_verify_mode          => $VERIFY_PEER,
        SSL_verifycn_name        => $request->{url}->host,
        SSL_verifycn_scheme      => 'http',
    );
    IO::Async::Loop->new->add($http);
    my $sent = HTTP::Request->new($request->{method} => $request->{url}, [map { @$_ } @{$request->{headers}}]);
    $sent->protocol('HTTP/1.1');
    $sent->header(Connection => 'close');
    $sent->content($request->{content}) if defined $request->{content};
    $self->{future} = $http->do_request(request => $sent, on_header => sub { });
    my $take = sub { $$link->_take_read($_[1]) if $$link; 0 };
    $_->configure(on_read => $take) for $http->children;
    $self->{future}->on_fail(sub { $$link->lost($_[0]) if $$link });
    return $self;
}

# Public methods

# A connection must not be closed while the library reads from it.
sub close {
    my $self = shift;
    delete $self->{on};
    my ($future, $http) = delete @$self{qw(future http)};
    my $loop = $http && $http->loop or return;
    my $end  = sub {
        $future->cancel if $future && !$future->is_ready;
        $loop->remove($http);
    };
    if   ($self->{is_read}) { $loop->later($end) }
    else                    { $end->() }
    return;
}

sub pause { return $_[0]->_read(0) }

sub resume { return $_[0]->_read(1) }

# Private methods

sub _read {
    my ($self, $does) = @_;
    $_->want_readready_for_read($does) for $self->{http} ? $self->{http}->children : ();
    return;
}

sub _take_read {
    my ($self, $buffer) = @_;
    local $self->{is_read} = 1;
    $self->take(substr $$buffer, 0, length $$buffer, '');
    return;
}

1;
