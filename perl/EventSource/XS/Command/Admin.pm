package EventSource::XS::Command::Admin;
use strict;
use warnings;

# `eventsource admin`: serves the admin page of a hub on 127.0.0.1, to whoever knows the URL with its token.
#
# One process serves: no request with the token takes long, and the hub process has the stream of each page. TCP_DEFER_ACCEPT
# keeps connections away until they have sent something: a browser opens some that it may not use, and a request that is whole
# when its connection is accepted does not wait among those that are not.

use Digest::SHA qw(sha256);
use EventSource::Hub;
use EventSource::XS::Command;
use EventSource::XS::Command::AdminServer;
use EventSource::XS::Command::AdminSocket;
use EventSource::XS::Hub::Admin;
use EventSource::XS::Response;
use Socket qw(IPPROTO_TCP SOMAXCONN);

my $COMMAND = 'EventSource::XS::Command';

my $TCP_DEFER_ACCEPT = 9;                        # of Linux
my $DEFER            = 30;                       # seconds
my $TIMEOUT          = 1;                        # seconds of silence in a body, or of a client that does not read
my $TOKEN_BYTES      = 16;
my $LABEL            = "eventsource admin $$";

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('admin', \@arguments, qw(hub=s socket=s port=i show-channel=s timeout=f));
    $COMMAND->usage("what is '$arguments[0]'?") if @arguments;
    my $port = $option->{port} // 0;
    $COMMAND->usage('--port takes a number from 1 to 65535')
        if defined $option->{port} && ($port < 1 || $port > 65_535);
    my $form     = $COMMAND->connect($option, autostart => 0)->show_channel;
    my %setting  = (show_channel => $form, $COMMAND->settings_of_hub($option), autostart => 0);
    my $hub      = EventSource::Hub->new(%setting);
    my $listener = _listener($port);
    my $token    = _token();
    my $is_over;
    local @SIG{qw(INT TERM)} = (sub { $is_over = 1; die "over\n" }) x 2;
    my $app   = _below(EventSource::XS::Hub::Admin->app($hub, allow => sub { 1 }));
    my $until = sub {
        my $env      = shift;
        my $response = $app->($env);
        $env->{'psgix.harakiri.commit'} = 1 if $is_over;
        return $response;
    };
    $COMMAND->print("http://127.0.0.1:${\$listener->sockport}/$token/    for this browser, until this command ends\n");
    my %server = (listen_sock => $listener, refusal => _refusal_without($token), timeout => $TIMEOUT);
    eval { EventSource::XS::Command::AdminServer->new(%server)->accept_loop($until); 1 }
        or $is_over
        or die $@;
    eval { $hub->end(label => $LABEL) };    # the hub process has the tails, if it is there
    return;
}

# Private functions

# The application below the path of the token. Its tails have a label, so that they end with this command.
sub _below {
    my $app = shift;
    return sub {
        my $env = shift;
        my ($token, $path) = $env->{PATH_INFO} =~ m{\A(/[^/]*)(.*)\z}s;
        return $app->(
            {%$env, SCRIPT_NAME => $token, PATH_INFO => $path, $EventSource::XS::Hub::Admin::LABEL => $LABEL});
    };
}

sub _listener {
    my $port     = shift;
    my $listener = EventSource::XS::Command::AdminSocket->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $port,
        Listen    => SOMAXCONN,
        ReuseAddr => 1
    ) or die 'cannot listen at ' . ($port ? "the port $port" : 'a port') . " of 127.0.0.1: $!\n";
    setsockopt $listener, IPPROTO_TCP, $TCP_DEFER_ACCEPT, $DEFER;    # a system may have none
    return $listener;
}

# A path that nobody can guess. Digests are compared, so the time says nothing of the token.
sub _refusal_without {
    my $digest = sha256(shift);
    return sub {
        my ($given) = $_[0]{PATH_INFO} =~ m{\A/([^/]*)};
        return undef if defined $given && sha256($given) eq $digest;
        return EventSource::XS::Response->text(403, 'The URL that eventsource admin has printed has a token');
    };
}

sub _token {
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read($random, my $bytes, $TOKEN_BYTES) == $TOKEN_BYTES or die "/dev/urandom: $!\n";
    return unpack 'H*', $bytes;
}

1;
