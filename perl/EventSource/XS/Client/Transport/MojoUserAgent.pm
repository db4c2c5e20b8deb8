package EventSource::XS::Client::Transport::MojoUserAgent;
use strict;
use warnings;

# A request of a client over Mojo::UserAgent, in Mojo::IOLoop. The transaction of the library sends the request; the bytes of
# the answer go to this module.

use parent 'EventSource::XS::Client::Transport';
use Mojo::IOLoop;
use Mojo::Transaction::HTTP;
use Mojo::UserAgent;

my $CONNECT_WITHIN = 10;    # seconds

sub loop { return 'Mojo::IOLoop' }

sub open {
    my ($class, $request, $on) = @_;
    my $self  = $class->new($on);
    my $link  = $self->{link};
    my $agent = $self->{agent} = Mojo::UserAgent->new(
        connect_timeout    => $CONNECT_WITHIN,
        inactivity_timeout => 0,                 # the client has its own
        max_connections    => 0,
        max_redirects      => 0,
    );
    my $sent = $agent->build_tx($request->{method} => $request->{url}->as_string)->req;
    $sent->headers->remove($_->[0]) for @{$request->{headers}};
    $sent->headers->add(@$_) for @{$request->{headers}};
    $sent->body($request->{content}) if defined $request->{content};
    my $tx = $self->{tx} = EventSource::XS::Client::Transport::MojoUserAgent::Transaction->new(req => $sent);
    $tx->{on_bytes} = sub { $$link->take($_[0]) if $$link };
    $agent->start($tx => sub { $$link->_finish if $$link });
    return $self;
}

# Public methods

sub close {
    my $self   = shift;
    my $stream = $self->_stream;
    delete @$self{qw(on tx)};
    $stream->close if $stream;
    return;
}

sub pause {
    my $stream = $_[0]->_stream;
    $stream->stop if $stream;
    return;
}

sub resume {
    my $stream = $_[0]->_stream;
    $stream->start if $stream;
    return;
}

# Private methods

# The end of the transaction.
sub _finish {
    my $self  = shift;
    my $tx    = $self->{tx} or return;
    my $error = $tx->error;
    return $self->lost($error && $error->{message});
}

sub _stream {
    my $tx = $_[0]{tx} or return;
    return $tx->connection && Mojo::IOLoop->stream($tx->connection);
}

package EventSource::XS::Client::Transport::MojoUserAgent::Transaction;

our @ISA = 'Mojo::Transaction::HTTP';

sub client_read {
    my ($self, $bytes) = @_;
    $self->{on_bytes}->($bytes);
    return;
}

1;
