# The dashboards of EventSource::Cookbook in a real browser, with the real htmx, Turbo and Datastar.
#
# npm has no Datastar with the events of 1.0. Its newest one, a beta, gives the same events other names, so the recipe runs here
# with those. htmx 2 runs with the attributes that EventSource::Cookbook lists for it.

use lib 't/lib';
use Testing;
use File::Spec ();
use File::Temp ();
use Test::EventSource;
use Testing::Browser;
use Testing::Developer qw(needs);
use Testing::Node      qw(packages_missing);
use Testing::Server;
use Testing::SourceTree qw(slurp);

Testing::Browser->require_or_skip_all;
needs(packages_missing('examples/cookbook'));

my $MODULES = File::Spec->rel2abs('examples/cookbook/node_modules');
my $browser;

# The imports of npm's Datastar have no extensions, as bundlers want them. A redirection tells the browser the file.
my $RESOLVER = <<"PERL";
    mount '/lib' => sub {
        my \$path = "$MODULES\$_[0]{PATH_INFO}";
        return Plack::App::File->new(root => "$MODULES")->to_app->(\$_[0]) if -f \$path;
        my (\$suffix) = grep { -f "\$path\$_" } '.js', '/index.js';
        return [302, [Location => "/lib\$_[0]{PATH_INFO}\$suffix"], []];
    };
PERL

# The file of a recipe and the changes for another version of its library.
my %VARIANT = (
    'htmx 4' => {file => 'dashboard_htmx'},
    'htmx 2' => {
        file => 'dashboard_htmx',
        edit => [
            '/lib/htmx.org/dist/' => '/lib/htmx-ext-sse/node_modules/htmx.org/dist/',
            '/[^"]*hx-sse.min.js' => '/lib/htmx-ext-sse/dist/sse.min.js',
            'hx-sse:connect="'    => 'hx-ext="sse" sse-swap="message" sse-connect="',
        ],
    },
    'Turbo'    => {file => 'dashboard_turbo'},
    'Datastar' => {
        file => 'dashboard_datastar',
        edit => [
            'https://cdn[^"]*'        => '/lib/@starfederation/datastar/dist/bundles/datastar.js',
            'data-init'               => 'data-on-load',
            'datastar-patch-elements' => 'datastar-merge-fragments',
            '"elements \$_"'          => '"fragments $_"',
            '(?=    mount ./set)'     => $RESOLVER,
            '^use Plack::Builder;'    => "use Plack::App::File;\nuse Plack::Builder;",
        ],
    },
);

# A copy of a recipe's file, which finds the libraries.
sub edited {
    my ($file, @edits) = @_;
    my $text = slurp("examples/cookbook/$file.psgi");
    $text =~ s{dirname\(__FILE__\) [.] '/node_modules'}{"$MODULES"};
    while (my ($pattern, $new) = splice @edits, 0, 2) {
        $text =~ s/$pattern/$new/mg or die "$file has no $pattern";
    }
    my $copy = File::Temp->new(SUFFIX => '.psgi');
    print {$copy} $text;
    close $copy or die "$copy: $!";
    return $copy;
}

# Waits until an element shows a text.
sub shows {
    my ($id, $text, $name) = @_;
    return $browser->wait_for("document.getElementById('$id')?.textContent === '$text'", $name);
}

# The page reconnects to a server that was restarted. The recipes load it again then, because it may have missed events. npm's
# Datastar cannot reconnect, for it has no option retry; and htmx 2 ignores the gap.
sub restarted_ok {
    my ($server, $set, $variant) = @_;
    $browser->evaluate("document.querySelector('dl').dataset.old = 'yes'");
    $server->restart;
    $browser->wait_for(
        "document.querySelector('dl') && !document.querySelector('dl').dataset.old && document.readyState === 'complete'",
        'the page is loaded again'
    ) if $variant ne 'htmx 2';
    is $set->(name => 'load', value => 4), 204, 'a figure is set after a restart';
    shows(load => 4, 'the page has reconnected and shows it');
    return;
}

for my $variant (sort keys %VARIANT) {
    for my $name (qw(Starman Twiggy)) {
        subtest "$variant on $name" => sub {
            $browser = Testing::Browser->start;
            my $psgi   = edited($VARIANT{$variant}{file}, @{$VARIANT{$variant}{edit} || []});
            my $server = Testing::Server->start($name, $psgi->filename, workers => 1);
            my $es     = Test::EventSource->new(url => $server->url(''), timeout => 10);
            my $set    = sub { my %given = @_; $es->post('/set', form => [%given])->code };

            is $set->(name => 'load', value => 1), 204, 'a figure is set before there is a page';
            $browser->open($server->url('/'));
            shows(load => 1, 'the page shows it');
            is $set->(name => 'load', value => $_), 204, "the load is $_" for 2, 3;
            shows(load => 3, 'the page shows the latest one');
            is $set->(name => 'users', value => "<i>\n7"), 204, 'a figure with markup and two lines is set';
            shows(users => '<i>\n7', 'the page shows it as text');
            shows(load  => 3,        'the other figure is unchanged');
            $browser->open($server->url('/'));
            shows(load  => 3,        'a page that is loaded again shows one figure');
            shows(users => '<i>\n7', 'and the other one');
            is_deeply [$browser->complaints], [], 'the browser reports no error';
            restarted_ok($server, $set, $variant) if $variant ne 'Datastar' && $name eq 'Starman';
            $browser->open('about:blank');
        };
    }
}

done_testing;
