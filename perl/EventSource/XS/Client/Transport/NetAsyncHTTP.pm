package EventSource::XS::Client::Transport::NetAsyncHTTP;
use strict;
use warnings;

# A request of a client over Net::Async::HTTP, in IO::Async.

use parent 'EventSource::XS::Client::Transport';
use HTTP::Request;
use IO::Async::Loop;
use Net::Async::HTTP;
use Scalar::Util qw(weaken);

my $MAX_BUFFERED = 1_048_576;    # bytes; the library takes a chunk as a whole

my $VERIFY_PEER = 1;             # of IO::Socket::SSL; the library checks nothing where it finds no authorities

# The loop of the process has to exist before a timer is set.
sub loop {
    IO::Async::Loop->new;
    return 'IO::Async';
}

sub open {
    my ($class, $request, $on) = @_;
    my $self = bless {on => $on}, $class;
    weaken(my $weak_self = $self);
    my $http = $self->{http} = Net::Async::HTTP->new(
        decode_content           => 0,
        fail_on_error            => 0,
        max_connections_per_host => 1,
        max_in_flight            => 1,
        max_redirects            => 0,
        on_error                 => sub { $weak_self->report_end(unavailable => $_[1]) if $weak_self },
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
    $self->{future} = $http->do_request(
        request   => $sent,
        on_header => sub {
            my $response = shift;
            $weak_self->_take_head($response) if $weak_self;
            return sub { @_ ? $weak_self && $weak_self->_take_body(@_) : $response };
        },
    );
    $_->configure(read_high_watermark => $MAX_BUFFERED, read_low_watermark => $MAX_BUFFERED / 2) for $http->children;
    $self->{future}->on_ready(
        sub { $weak_self->report_end($_[0]->is_failed ? (unavailable => scalar $_[0]->failure) : ()) if $weak_self });
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

sub _take_body {
    my ($self, $bytes) = @_;
    local $self->{is_read} = 1;
    $self->{on}{bytes}->($bytes) if $self->{on};
    return;
}

# The library would take a coding off without a bound, so it is not shown the header.
sub _take_head {
    my ($self, $response) = @_;
    local $self->{is_read} = 1;
    my %header;
    $response->headers->scan(
        sub {
            my ($name, $value) = (lc $_[0], $_[1]);
            $header{$name} = defined $header{$name} ? "$header{$name}, $value" : $value;
        }
    );
    $response->remove_header('Content-Encoding');
    $self->{on}{head}->($response->code, \%header, $response->message =~ s/\r\z//r) if $self->{on};
    return;
}

1;
