package Testing::MockClient;
use Testing;

# The client of an application that runs in the test process, under Plack::Test's MockHTTP. It has the interface of
# Testing::Client, but a response arrives as a whole.
#
#   my $client = Testing::MockClient->new('t/data/contract.psgi', {})->get('/one');

use Testing::Client ();
use HTTP::Request;
use Plack::Test;
use Plack::Util;

sub body { return $_[0]{response}->content }

sub complete { return !!1 }

sub ended { return !!1 }

sub get {
    my ($self, $path, %option) = @_;
    my @request  = ($option{method} || 'GET', "http://127.0.0.1$path", $option{headers});
    my $request  = HTTP::Request->new(@request, defined $option{then} ? $option{then} : ());
    my $response = $self->{test}->request($request);
    return bless {%$self, method => $request->method, response => $response, headers => [@{$self->{seen}}]}, ref $self;
}

sub header { return $_[0]{response}->header($_[1]) }

# Returns the headers in the order in which they were sent; HTTP::Response sorts them.
sub headers { return $_[0]{headers} }

# Returns a client of the application in a .psgi file, with an environment for it.
sub new {
    my ($class, $psgi, $env) = @_;
    local $Plack::Test::Impl = 'MockHTTP';
    @ENV{keys %$env} = values %$env;
    my $app  = Plack::Util::load_psgi($psgi);
    my $self = bless {http => '1.1', seen => []}, $class;
    $self->{test} = Plack::Test->create(
        sub {
            return Plack::Util::response_cb($app->(@_), sub { @{$self->{seen}} = @{$_[0][1]}; return });
        }
    );
    return $self;
}

sub read_all { return !!1 }

sub read_until { return $_[0]->body =~ $_[1] }

sub status { return $_[0]{response}->code }

sub text { return Testing::Client::text({body => $_[0]->body}) }

1;
