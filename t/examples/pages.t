# The pages of EventSource::Cookbook's recipes in a real browser: what a visitor does, and what the page shows.

use lib 't/lib';
use Testing qw(Browser);
use Testing::Server;

my @browsers = map { Testing::Browser->start } 1, 2;
my ($one, $two) = @browsers;

# A recipe on a server of its own.
sub start {
    my ($where, $name, %env) = @_;
    my @args = $where eq 'Starman' ? ('--keepalive-timeout', 0) : ();    # its worker is for the next connection at once
    return Testing::Server->start($where, "examples/cookbook/$name.psgi", workers => 1, args => \@args, env => \%env);
}

# Ends the streams of all pages.
sub leave {
    $_->open('about:blank') for @browsers;
    is_deeply [map { $_->complaints } @browsers], [], 'the browsers report no error';
    return;
}

# Fills a field of the form and submits it.
sub submit {
    my ($browser, $field, $text) = @_;
    $browser->evaluate("form.elements.$field.value = '$text', form.requestSubmit()");
    return;
}

for my $where (qw(Starman Twiggy)) {
    subtest "chat on $where" => sub {
        my $server = start($where, 'chat');
        $_->open($server->url('/?perl')) for @browsers;
        submit($one, text => 'Grüße <b>');
        $_->wait_for("said.textContent === 'me: Grüße <b>\\n'", 'a window shows what was said') for @browsers;
        $two->open($server->url('/?perl'));
        $two->wait_for("said.textContent === 'me: Grüße <b>\\n'", 'a window that enters shows it too');
        leave();
    };

    subtest "tokens on $where" => sub {
        my $folder = new_folder;
        my %file   = (MODEL_GO => '/dev/null', MODEL_STOPPED => "$folder/stopped");
        my $model  = Testing::Server->start('Starman', 't/examples/model.psgi', workers => 2, env => \%file);
        my $server = start($where, 'tokens', MODEL_URL => $model->url('/v1/chat/completions'));
        $one->open($server->url('/'));
        submit($one, question => 'grün ist schön');
        $one->wait_for("answer.textContent === 'grün ist schön\\n(complete)\\n'", 'the page shows the answer once');
        my $stop = q(document.getElementById('stop'));
        ok $one->evaluate("$stop.disabled"), 'there is nothing to stop any more';
        submit($one, question => 'endless');
        $one->wait_for("answer.textContent.startsWith('on and ')", 'an answer without end begins');
        $one->evaluate("$stop.click()");
        $one->wait_for("answer.textContent.endsWith('(stopped)\\n') && $stop.disabled", 'the button stops it');
        ok wait_until(sub { -s $file{MODEL_STOPPED} }), 'the model is disconnected';
        leave();
    };

    subtest "progress on $where" => sub {
        my $server = start($where, 'progress');
        $one->open($server->url('/'));
        $one->evaluate('start.click()');
        $one->wait_for('bar.value > 0 && bar.value < 1',                  'the bar moves');
        $one->wait_for("bar.value === 1 && state.textContent === 'done'", 'the job ends');
        leave();
    };
}

done_testing;
