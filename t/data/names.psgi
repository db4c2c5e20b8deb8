# Streams of users whose names are bytes, as PSGI gives them.

use Testing::Application qw(answer);
use EventSource::Hub;
use Plack::Builder;

my $asked = 0;
my $hub   = EventSource::Hub->new(name => 'names', position => 'id');
my $app   = $hub->to_app(
    channels => sub { my ($path) = $_[0]{PATH_INFO} =~ m{\A/(.+)}; $asked++; return ('orders', $path) },
    label    => sub { return "user/$_[0]{REMOTE_USER}" },
    member   => sub { return {id => $_[0]{REMOTE_USER}, channel => 'people', leave_after => 0} },
    ticket   => 60,
);

builder {
    mount '/asked'  => sub { return answer($asked) };
    mount '/events' => builder {
        enable 'Auth::Basic', authenticator => sub { return 1 };
        $app;
    };
};
