package Testing::LoopFCGI;
use Testing;

# Serves a PSGI application by FastCGI in an event loop, on a Unix socket or on an address with a port. FCGI::EV and
# AnyEvent::FCGI have the protocol only; what Plack::Handler::FCGI::EV and Plack::Handler::AnyEvent::FCGI of CPAN add to them
# is here.
#
#   perl -MTesting::LoopFCGI -e 'Testing::LoopFCGI->run(@ARGV)' FCGI::EV app.psgi 127.0.0.1:5000

use HTTP::Status ();
use Plack::Util  ();

my %LISTEN = ('FCGI::EV' => \&_listen_ev, 'AnyEvent::FCGI' => \&_listen_any_event);

sub run {
    my ($class, $name, $psgi, $address) = @_;
    my $app    = Plack::Util::load_psgi($psgi);
    my @server = $LISTEN{$name}->($app, $address);
    return AnyEvent->condvar->recv;
}

# The interface of a handler of FCGI::EV, whose class is an object here.
sub new {
    my ($self, $server, $params) = @_;
    return bless {app => $self->{app}, server => $server, params => $params}, ref $self;
}

sub stdin {
    my ($self, $bytes, $is_end) = @_;
    $self->{stdin} .= $bytes;
    my $server = $self->{server};
    _respond(@$self{qw(app params stdin)}, sub { $server->stdout(shift) }, sub { $server->stdout('', 1) }) if $is_end;
    return;
}

sub _listen_any_event {
    my ($app, $address) = @_;
    require AnyEvent::FCGI;
    my ($host, $port) = split /:/, $address;
    return AnyEvent::FCGI->new(
        defined $port ? (host => $host, port => $port) : (socket => $address),
        on_request => sub {
            my $request = shift;
            my $stdin   = $request->read_stdin;
            _respond(
                $app, $request->params,
                $stdin // '',
                sub { $request->print_stdout(shift) },
                sub { $request->finish }
            );
        }
    );
}

sub _listen_ev {
    my ($app, $address) = @_;
    require EV;
    require AnyEvent::Socket;
    require FCGI::EV;
    my ($host, $port) = split /:/, $address;
    my $factory = bless {app => $app}, __PACKAGE__;
    return AnyEvent::Socket::tcp_server(defined $port ? ($host, $port) : ('unix/', $address),
        sub { FCGI::EV->new(shift, $factory) });
}

sub _respond {
    my ($app, $params, $stdin, $write, $end) = @_;
    open my $input, '<', \$stdin or die "input: $!\n";
    my %env = (
        %$params,
        SCRIPT_NAME            => '',
        PATH_INFO              => $params->{REQUEST_URI} =~ s/[?].*//sr =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger,
        'psgi.version'         => [1, 1],
        'psgi.url_scheme'      => 'http',
        'psgi.input'           => $input,
        'psgi.errors'          => \*STDERR,
        'psgi.multithread'     => !!0,
        'psgi.multiprocess'    => !!0,
        'psgi.run_once'        => !!0,
        'psgi.streaming'       => !!1,
        'psgi.nonblocking'     => !!1,
        'psgix.input.buffered' => !!1,
    );
    my $respond = sub {
        my ($status, $headers, $body) = @{$_[0]};
        my $head = "Status: $status " . HTTP::Status::status_message($status) . "\r\n";
        Plack::Util::header_iter($headers, sub { $head .= "$_[0]: $_[1]\r\n" });
        $write->("$head\r\n");
        return Plack::Util::inline_object(write => $write, close => $end) if !defined $body;
        Plack::Util::foreach($body, $write);
        return $end->();
    };
    my $response = Plack::Util::run_app($app, \%env);
    ref $response eq 'CODE' ? $response->($respond) : $respond->($response);
    return;
}

1;
