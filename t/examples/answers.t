# The answers of a language model of EventSource::Cookbook in a real browser, on Starman with four workers: an answer outlives
# the page and the workers, each tab shows all of it, and a stop disconnects the model, whichever worker receives it.

use lib qw(t/lib examples/live/lib);
use Testing;
use File::Spec ();
use Live::Processes;
use Testing::Browser;
use Testing::Developer qw(needs_module);
use Testing::Process   qw(processes_like);
use Testing::Recipe;
use Testing::Server;
use Testing::SourceTree qw(slurp);

needs_module('AnyEvent::HTTP');
$ENV{PATH} = File::Spec->rel2abs('blib/script') . ":$ENV{PATH}";

my $folder  = new_folder;
my %file    = map { ("MODEL_$_" => "$folder/$_") } qw(GO STOPPED);
my $model   = Testing::Server->start('Starman', 't/examples/model.psgi', workers => 2, env => \%file);
my $recipe  = Testing::Recipe->start('answers', MODEL_URL => $model->url('/v1/chat/completions'));
my $browser = Testing::Browser->start;
my $page    = $browser->new_tab($recipe->url('/'));
my $SHOWN   = q(document.getElementById('answer').textContent);
my $STOP    = q(document.getElementById('stop'));

sub shows {
    my ($tab, $text, $name) = @_;
    return $tab->wait_for("$SHOWN === '$text'", $name);
}

# Asks as a visitor does. Returns the address of the answer.
sub ask {
    my $question = shift;
    $page->evaluate("location.hash = ''; form.elements.question.value = '$question'; form.requestSubmit()");
    $page->wait_for('location.hash.length > 1', 'the answer has an address');
    return $page->evaluate('location.href');
}

# Presses the button of a page.
sub stop_ok {
    my ($tab, @tabs) = @_;
    $tab->wait_for("!$STOP.disabled", 'the answer can be stopped');
    $tab->evaluate("$STOP.click()");
    $_->wait_for("$SHOWN.endsWith('(stopped)\\n') && $STOP.disabled", 'a page shows that the answer was stopped')
        for $tab, @tabs;
    ok wait_until(sub { -s $file{MODEL_STOPPED} }), 'the model knows it';
    is slurp($file{MODEL_STOPPED}), 'disconnected', 'the request to the model is gone';
    unlink $file{MODEL_STOPPED} or die "$file{MODEL_STOPPED}: $!";
    return;
}

# The processes of the job of an answer, but for its shell.
sub jobs {
    my ($id) = shift =~ /#(.+)/;
    return processes_like(qr/\Aperl\x00[^\x00]*answer\x00\Q$id\E\x00/);
}

subtest 'a page is loaded again' => sub {
    my $url = ask('one two three');
    shows($page, 'one ', 'the page shows the first word before the model has the second');
    my $tab = $browser->new_tab($url);
    shows($tab, 'one ', 'so does a second tab');
    $page->open('about:blank');
    $page->open($url);
    shows($page, 'one ', 'so does the first one, loaded again');
    is $page->evaluate('form.elements.question.value'), 'one two three', 'with its question';
    open my $go, '>', $file{MODEL_GO} or die $!;
    shows($_, 'one two three\n(complete)\n', 'then the rest') for $page, $tab;
    $tab->close;
    $page->open('about:blank');
    $page->open($url);
    shows($page, 'one two three\n(complete)\n', 'and all of it later');
};

subtest 'the page and the workers are killed' => sub {
    my $url = ask('endless');
    $page->wait_for("$SHOWN.startsWith('on and ')", 'the answer begins');
    $page->kill;
    my @workers = Live::Processes::workers($recipe->pid);
    is kill(KILL => @workers), 4, 'no worker is left of those that have seen the question';
    ($page, my $tab) = map { $browser->new_tab($url) } 1, 2;
    $_->wait_for("$SHOWN.startsWith('on and on and ')", 'a new page shows the answer') for $page, $tab;
    stop_ok($tab, $page);
    ok wait_until(sub { !jobs($url) }), 'the job has ended';
    $tab->close;
};

subtest 'the model thinks' => sub {
    my $url = ask('silent');
    shows($page, 'hm ', 'there is a token, and no further one');
    stop_ok($page);
    $page->open('about:blank');
    $page->open($url);
    shows($page, 'hm \n(stopped)\n', 'the page knows it later');
};

subtest 'the job is ended' => sub {
    my $url = ask('silent');
    shows($page, 'hm ', 'there is a token');
    is kill(TERM => jobs($url)), 1, 'a signal ends the job';
    shows($page, 'hm \n(failed)\n', 'the page shows it');
    ok wait_until(sub { -s $file{MODEL_STOPPED} }), 'the model knows it';
    unlink $file{MODEL_STOPPED} or die "$file{MODEL_STOPPED}: $!";

    $url = ask('silent');
    shows($page, 'hm ', 'there is another answer');
    is kill(KILL => jobs($url)), 1, 'its job is killed';
    shows($page, 'hm \n(failed)\n', 'the page shows it, too');
    ok wait_until(sub { -s $file{MODEL_STOPPED} }), 'the model knows it';
    unlink $file{MODEL_STOPPED} or die "$file{MODEL_STOPPED}: $!";
};

subtest 'an answer that is none' => sub {
    is $recipe->post('/stop/' . '0' x 32), 404, 'cannot be stopped';
    $page->evaluate(q{location.hash = '0'.repeat(32)});
    shows($page, '\n(there is no such answer, or it is lost)\n', 'the page says so');
    $page->evaluate(q{location.hash = ''});
    shows($page, '', 'without an address it is empty');
    ok $page->evaluate("$STOP.disabled"), 'and has nothing to stop';
};

subtest 'what the model sends is not as expected' => sub {
    for my $question (qw(overloaded parts text)) {
        ask($question);
        $page->wait_for("$SHOWN.endsWith(')\\n')", 'the answer ends');
        like $page->evaluate($SHOWN), qr/^\(failed\)$/m, "as failed: $question";
    }
};

subtest 'questions' => sub {
    ask('one\\0two');
    shows($page, 'one\\0two\n(complete)\n', 'one with a NUL is not cut');
    is $recipe->post('/ask', question => 'ü' x 99_000), 200, 'a long one is asked';
    $page->evaluate("form.elements.question.value = 'x'.repeat(100_001); form.requestSubmit()");
    shows($page, 'The question has more than 100000 characters.', 'of one that is too long the page says so');
};

subtest 'the hub process is killed' => sub {
    my $url = ask('one');
    $page->wait_for("$SHOWN.endsWith('(complete)\\n')", 'there is an answer');
    $recipe->kill_hub_ok;
    $page->open('about:blank');
    $page->open($url);
    shows($page, '\n(there is no such answer, or it is lost)\n', 'a page that is loaded again knows that it is lost');
};

my @complaints = grep { !/status of 4(?:04|13)/ } $page->complaints;
is_deeply \@complaints, [], 'the browser reports no other error than the question that is too long and the lost answer';
$page->open('about:blank');
done_testing;
