# The application of the contract. Its routes are made from the behaviours in t/lib/Testing/Contract/*.pm; see
# t/lib/Testing/Contract.pm.

use Testing::Application qw(answer);
use Testing::Contract::Basics;
use Testing::Contract::Ends;
use Testing::Contract::Events;
use Testing::Contract::Handler qw(source);
use Testing::Contract::Head;
use Testing::Contract::Methods;
use Testing::Contract::Middleware;
use Testing::Contract::Requests;
use Plack::App::URLMap;

my %route = ('/plain' => sub { return answer('plain') });

for my $behaviour (map { "Testing::Contract::$_"->behaviours } qw(Basics Head Events Middleware Ends Requests Methods))
{
    my $app =
        $behaviour->{handler} ? source($behaviour->{handler})->to_app : $behaviour->{app} && $behaviour->{app}->();
    my $path = $behaviour->{mount} || $behaviour->{request}[0];
    die "two behaviours define $path\n" if $app && $route{$path};
    $route{$path} = $app                if $app;
}

my $urlmap = Plack::App::URLMap->new;
$urlmap->map($_ => $route{$_}) for keys %route;
$urlmap->to_app;
