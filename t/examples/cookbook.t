# Each recipe of EventSource::Cookbook runs on each server that the manual names, with one worker, or with several if its hub
# has a name. A client receives what the recipe promises. Other files of t/examples test the pages in a browser.

use lib qw(t/lib examples/live/lib);
use Testing;
use EventSource::Hub;
use Encode     qw(encode_utf8);
use File::Temp ();
use JSON::PP   qw(decode_json);
use Live::Processes;
use MIME::Base64 qw(encode_base64);
use Test::EventSource;
use Testing::Database::SQLite;
use Testing::Developer qw(needs_module);
use Testing::OrderForm;
use Testing::Program;
use Testing::Server     qw(subtest_once);
use Testing::SideBySide qw(run_each);

my $where;

# A recipe on a server of its own.
sub start {
    my ($name, %env) = @_;
    return Testing::Server->start($where, "examples/cookbook/$name.psgi", workers => 1, env => \%env);
}

# A recipe on several workers, which share a named hub.
sub start_workers {
    my ($name, %env) = @_;
    Testing->need('named_hubs');
    return Testing::Server->start($where, "examples/cookbook/$name.psgi", workers => 4, env => \%env);
}

sub stop_with_hub {
    my ($server, $socket) = @_;
    $server->stop;
    Live::Processes::end_hub($socket);
    return;
}

# The recipes in their order: the name, and code that tests it on the server $where.
my @RECIPES;

# Some servers are not for all recipes.
sub recipe {
    my ($name, $code, @servers) = @_;
    push @RECIPES, [$name, $code, map { ($_ => 1) } @servers ? @servers : Testing::Server->names];
    return;
}

sub run_recipes {
    $where = shift;
    Testing::Server->require_or_skip_all($where);
    for (@RECIPES) {
        my ($name, $code, %is_for) = @$_;
        subtest $name => $code if $is_for{$where};
    }
    return;
}

sub client_of { return Test::EventSource->new(url => shift->url(''), timeout => 10) }

# A position is not for the page.
sub next_event {
    my $stream = shift;
    my $event;
    do { $event = $stream->next_event } while $event && $event->{event} eq 'position';
    return $event;
}

sub next_is {
    my ($stream, $type, $data, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $event = next_event($stream);
    return is_deeply [$event ? @$event{qw(event data)} : ()], [$type, $data], $name;
}

sub next_json_is {
    my ($stream, $type, $json, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $event = next_event($stream);
    return is_deeply [$event ? ($event->{event}, decode_json(encode_utf8($event->{data}))) : ()], [$type, $json], $name;
}

recipe tokens => sub {
    my $folder = File::Temp->newdir;
    my %file   = map { ("MODEL_$_" => "$folder/$_") } qw(GO STOPPED);
    my $model  = Testing::Server->start('Starman', 't/examples/model.psgi', workers => 2, env => \%file);
    my $server = start('tokens', MODEL_URL => $model->url('/v1/chat/completions'));
    my $es     = client_of($server);

    my $stream = $es->stream('POST', '/answer', form => [question => 'grün ist schön ☺']);
    next_is($stream, 'token', 'grün ', 'the client receives the first token before the model has the second');
    my $other = $es->get('/answer?question=endless');
    next_is($other, 'token', 'on and ', 'the one worker answers another client meanwhile');
    open my $go, '>', $file{MODEL_GO} or die $!;
    next_is($stream, 'token', $_, "then the token $_") for 'ist ', 'schön ', '☺';
    next_is($stream, 'finish', 'complete', 'then the end');
    $stream->ends_ok;
    is $es->get('/answer', last_event_id => $stream->last_event_id)->status, 204, 'a client that returns is sent away';

    $other->close;
    ok wait_until(sub { -e $file{MODEL_STOPPED} }), 'the model is disconnected with the client';
    next_is($es->get('/answer', last_event_id => 1),
        'finish', 'interrupted', 'the model is not asked again if the connection is lost');

    $model->stop;
    next_is($es->get('/answer?question=hello'), 'finish', 'failed', 'a model that is down is reported');
    ok wait_until(sub { !$server->strays }), 'no child is left' or diag join ' ', $server->strays;
};

recipe answers => sub {
    needs_module('AnyEvent::HTTP');
    my $folder = File::Temp->newdir;
    my %file   = map { ("MODEL_$_" => "$folder/$_") } qw(GO STOPPED);
    my $model  = Testing::Server->start('Starman', 't/examples/model.psgi', workers => 2, env => \%file);
    my %env    = (MODEL_URL => $model->url('/v1/chat/completions'), ANSWERS_SOCKET => "$folder/hub.sock");
    my $server = start_workers('answers', %env);
    my $es     = client_of($server);

    my $id     = $es->post('/ask', form => [question => 'grün ist ☺'])->content;
    my $stream = $es->get("/answer/$id");
    next_is($stream, 'question', 'grün ist ☺', 'the answer begins with the question');
    next_is($stream, 'token',    'grün ',      'the client receives the first token before the model has the second');
    $stream->close;
    open my $go, '>', $file{MODEL_GO} or die $!;
    my $again = $es->get("/answer/$id");
    next_is($again, 'question', 'grün ist ☺', 'a page that is loaded again receives the question');
    next_is($again, 'token',    $_,         "a page that is loaded again receives $_") for 'grün ', 'ist ', '☺';
    next_is($again, 'end',      'complete', 'and the end');
    $stream->reconnect;
    next_is($stream, 'token', $_, "a client that comes back receives $_") for 'ist ', '☺';
    next_is($stream, 'end', 'complete', 'and the end, though nobody has read meanwhile');
    is $es->get("/answer/$_")->status, 404, 'there is no other answer' for 'other', '0' x 32;
    $_->close for $stream, $again;

    my $endless = $es->post('/ask', form => [question => 'endless'])->content;
    my @streams = map { $es->get("/answer/$endless") } 1, 2;
    for my $stream (@streams) {
        next_is($stream, 'question', 'endless', 'another question');
        next_is($stream, 'token',    'on and ', 'an answer without end');
    }
    is $es->post("/stop/$endless")->code, 204, 'any request stops it';
    ok wait_until(sub { -s $file{MODEL_STOPPED} }), 'the model is disconnected';
    for my $stream (@streams) {
        my $event;
        do { $event = next_event($stream) } while $event->{event} eq 'token';
        is_deeply [@$event{qw(event data)}], ['end', 'stopped'], 'each client receives the end';
    }
    is $es->post('/stop/other')->code, 404, 'another answer cannot be stopped';
    $_->close for @streams;
    stop_with_hub($server, $env{ANSWERS_SOCKET});
};

recipe upstream => sub {
    needs_module('AnyEvent::HTTP');
    Testing->need('named_hubs');
    my $folder   = File::Temp->newdir;
    my $upstream = Testing::Server->start('Twiggy', 't/client/hub.psgi', workers => 1);
    my %env      = (UPSTREAM_URL => $upstream->url('/stream/all'), HUB_SOCKET => "$folder/hub");
    my @servers  = map { start('upstream', %env) } 1, 2;
    my @streams  = map { client_of($_)->get('/') } @servers;
    my $publish  = sub { $upstream->ask("/publish?hub=all&from=$_[0]&to=$_[1]") };
    $publish->(1, 5);

    for my $stream (@streams) {
        next_is($stream, 'message', $_, "the clients of both processes receive event $_ once") for 1 .. 5;
    }
    $streams[0]->close;
    (shift @servers)->stop;
    $publish->(6, 8);
    next_is($streams[1], 'message', $_, "when the process that reads has ended, the other one reads event $_")
        for 6 .. 8;
    $streams[1]->close;
    $_->stop for @servers, $upstream;
    Live::Processes::end_hub($env{HUB_SOCKET});
    },
    'Twiggy',
    'Feersum';

recipe progress => sub {
    my $server  = start('progress');
    my $es      = client_of($server);
    my @streams = map { $es->get('/job') } 1 .. 5;
    next_is($streams[4], 'finish', 'busy', 'a fifth job is refused');
    ok wait_until(sub { $server->strays == 4 }), 'each job is a process' or diag join ' ', $server->strays;
    $streams[0]->close;
    for my $step (1 .. 20) { next_is($streams[1], 'progress', $step / 20, "step $step is reported") }
    next_is($streams[1], 'finish', 'done', 'then the end');
    $streams[1]->ends_ok;
    next_is($es->get('/job', last_event_id => 3), 'finish', 'interrupted', 'a job that was cut is not begun again');
    $_->close for @streams;
    ok wait_until(sub { !$server->strays }), 'the children end with their clients' or diag join ' ', $server->strays;
};

recipe chat => sub {
    my $server = start('chat');
    my $es     = client_of($server);
    my ($ada, $carl, $elsewhere) = map { $es->get("/events/$_") } qw(perl perl rust);
    my %hello = (name => 'Ada', text => "héllo\nall");
    is $es->post('/say/perl', json => \%hello)->code, 204, 'a message is accepted';
    next_json_is($_, 'said', \%hello, 'a client in the room receives it') for $ada, $carl;
    $carl->close;
    $es->post('/say/perl', json => {%hello, text => $_}) for 'two', 'three';
    $carl->reconnect;
    next_json_is($carl, 'said', {%hello, text => $_}, "a client that was away receives $_") for 'two', 'three';
    next_json_is($es->get('/events/perl'), 'said', \%hello, 'a client that enters receives what was said before');
    $es->post('/say/rust', json => {%hello, text => 'crab'});
    next_json_is($elsewhere, 'said', {%hello, text => 'crab'}, 'another room has its own messages only');
    is $es->post('/say/perl',  form => [%hello])->code,        415, 'a form is refused';
    is $es->post('/say/perl',  json => {name => 'Ada'})->code, 400, 'so is a message without text';
    is $es->post('/say/a%2Fb', json => \%hello)->code,         404, 'so is an invalid room';
    is $es->get('/events/')->status, 404, 'no room is not a stream';
};

recipe jobs => sub {
    my $server = start('jobs', JOB_SECRET => 'hush');
    my $es     = client_of($server);
    my $stream = $es->get('/jobs/7');
    my $job    = Testing::Program->start(['examples/cookbook/job', $server->url('/jobs/7')], JOB_SECRET => 'hush');
    for my $which ('early', 'late') {
        my $client = $which eq 'early' ? $stream : $es->get('/jobs/7');
        next_json_is($client, 'progress', {step   => $_, of => 5}, "the $which client is sent step $_") for 1 .. 5;
        next_json_is($client, 'end',      {result => 'done'},      "the $which client is sent the end");
    }
    ok wait_until(sub { $job->has_ended }), 'the job ends';
    is $job->log, '', 'every report of the job was accepted';
    is $es->post('/jobs/7', content => 'x', headers => ['X-Job-Secret' => $_])->code, 403, "'$_' is not the secret"
        for '', 'hus', 'hushh';
};

recipe shop => sub {
    my $folder = File::Temp->newdir;
    my %env    = (SHOP_SOCKET => "$folder/hub");
    my $server = start_workers('shop', %env);
    my $es     = client_of($server);
    like $es->get('/')->header('Content-Type'), qr{\Atext/html}, 'there is a page';
    my $restock = sub {
        my $script = Testing::Program->start(['examples/cookbook/restock', @_], %env);
        wait_until(sub { $script->has_ended });
        return $script->log;
    };
    my @streams = map { $es->get('/events') } 1 .. 8;
    $es->wait_for(sub { length $_->last_event_id }) for @streams;
    is $restock->('hammer', 12), '', 'a script publishes';
    next_json_is($_, 'stock', {article => 'hammer', count => 12}, 'a client of any worker receives it')
        for @streams, $es->get('/events');
    is $restock->('hammer'), "usage: restock ARTICLE COUNT\n", 'the script says how it is used';
    stop_with_hub($server, $env{SHOP_SOCKET});
    like $restock->('hammer', 11), qr/\Anot published: EventSource::Hub: no process serves the hub shop/,
        'without a server the script warns';
};

recipe notifications => sub {
    my $server = start('notifications', map { (uc "${_}_PASSWORD" => "$_ pass") } qw(ada carl staff));
    my $es     = client_of($server);
    my $as     = sub { [Authorization => 'Basic ' . encode_base64("$_[0]:$_[0] pass", '')] };
    my %stream = map { ($_ => $es->get('/events', headers => $as->($_))) } qw(ada carl);
    my $notify =
        sub { $es->post('/notify', form => [to => $_[0], text => $_[1]], headers => $as->($_[2] || 'staff'))->code };
    is $notify->(ada       => 'für Ada'), 204, 'staff notifies one user';
    is $notify->(everybody => 'for all'), 204, 'staff notifies everybody';
    next_is($stream{ada}, 'notification', $_, "ada is notified: $_") for 'für Ada', 'for all';
    next_is($stream{carl}, 'notification', 'for all', 'carl is notified of what is for all only');
    is $notify->(carl => 'spam', 'ada'), 403, 'a user cannot notify';
    is $es->get('/events')->status,      401, 'without a login there is no stream';
    is $es->get('/events', headers => [Authorization => 'Basic ' . encode_base64('ada:guess', '')])->status, 401,
        'nor with a wrong password';
    is $es->get('/events', headers => $as->('staff'))->status, 403, 'the response of the callback is sent';
};

recipe logout => sub {
    my $folder = File::Temp->newdir;
    my %env    = (ACCOUNTS => "$folder/accounts", ACCOUNTS_SOCKET => "$folder/hub");
    $env{uc "${_}_PASSWORD"} = "$_ pass" for qw(ada carl staff);
    my $server = start_workers('logout', %env);
    my $es     = client_of($server);
    my $login  = sub {
        my $answer = $es->post('/login', form => [user => $_[0], password => "$_[0] pass"]);
        return [Cookie => $answer->header('Set-Cookie') =~ s/;.*//r];
    };
    my ($phone, $desk, $carls, $staff) = map { $login->($_) } qw(ada ada carl staff);
    my $post    = sub { $es->post($_[0], headers => $_[1], form => $_[2] || [])->code };
    my $rights  = sub { $post->('/rights',  $staff, [user    => $_[0], channel => $_[1], may => $_[2]]) };
    my $publish = sub { $post->('/publish', $staff, [channel => $_[0], text    => $_[1]]) };
    is $rights->(split(' '), 1), 204, "staff gives the right $_"
        for 'ada orders', 'ada prices', 'carl orders', 'carl prices';
    is $post->('/rights', $phone, [user => 'ada', channel => 'secrets', may => 1]), 403, 'a user does not';
    is $es->get('/events')->status, 403, 'without a session there is no stream';

    # A stream that has its position receives what another worker publishes from then on.
    my $stream_of = sub {
        my $stream = $es->get('/events', headers => $_[0]);
        ok $es->wait_for(sub { length $stream->last_event_id }), 'a stream begins';
        return $stream;
    };
    my @phone       = map { $stream_of->($phone) } 1, 2;
    my $desk_stream = $stream_of->($desk);
    my $carl        = $stream_of->($carls);
    $publish->(prices => 'one');
    next_is($_, 'prices', 'one', 'all receive what they may read') for @phone, $desk_stream, $carl;

    is $rights->('ada', 'prices', 0), 204, 'a right of ada is withdrawn';
    $_->ends_ok(undef, 'each stream of ada ends') for @phone, $desk_stream;
    $publish->(prices => 'two');
    $publish->(orders => 'three');
    $_->reconnect for @phone, $desk_stream;
    next_is($_, 'orders', 'three', 'it comes back without that channel, and has missed nothing else')
        for @phone, $desk_stream;
    next_is($carl, $_->[0], $_->[1], "the stream of carl stays: $_->[1]") for ['prices', 'two'], ['orders', 'three'];

    is $post->('/logout', $phone), 204, 'a session is logged out';
    for my $stream (@phone) {
        my $id = $stream->last_event_id;
        next_is($stream, 'finish', 'finish', 'each stream of the session is finished');
        $stream->ends_ok;
        my $finished = $stream->last_event_id;
        is $stream->reconnect->status, 403, 'it does not come back';
        is $es->get('/events', headers => $phone, last_event_id => $id)->status,       403, 'nor with an earlier id';
        is $es->get('/events', headers => $desk,  last_event_id => $finished)->status, 204, 'nor with another session';
    }
    $publish->(orders => 'four');
    next_is($_, 'orders', 'four', 'the other session and the other user are unharmed') for $desk_stream, $carl;

    my $again = $stream_of->($login->('ada'));
    is $post->('/logout_everywhere', $desk), 204, 'a user is logged out everywhere';
    next_is($_, 'finish', 'finish', 'the streams of all sessions are finished') for $again, $desk_stream;
    is $es->get('/events', headers => $desk)->status, 403, 'the session is gone';
    $publish->($_ => 'five')                             for 'prices', 'orders';
    next_is($carl, $_, 'five', "carl still receives $_") for 'prices', 'orders';
    my $new = $stream_of->($login->('ada'));
    $publish->(orders => 'six');
    next_is($new, 'orders', 'six', 'ada can log in again');

    my $tab = $stream_of->(my $shared = $login->('ada'));
    is $post->('/login', $shared, [user => 'carl', password => 'carl pass']), 204, 'carl logs in where ada is';
    next_is($tab, 'finish', 'finish', 'the stream of ada is finished');
    is $es->get('/events', headers => $shared)->status, 403, 'her session is gone';
    stop_with_hub($server, $env{ACCOUNTS_SOCKET});
};

# The sessions of a middleware do not depend on the server.
recipe session => sub {
    needs_module('Plack::Middleware::Session');
    my $folder = File::Temp->newdir;
    my %env    = (SESSIONS => "$folder", SESSIONS_SOCKET => "$folder/hub", ADA_PASSWORD => 'a', CARL_PASSWORD => 'c');
    my $server = start_workers('session', %env);
    my $es     = client_of($server);
    my $login  = sub {
        my $answer = $es->post('/login', form => [user => $_[0], password => $_[1]]);
        return [Cookie => $answer->header('Set-Cookie') =~ s/;.*//r];
    };
    my ($phone, $desk, $carl) = map { $login->(@$_) } ['ada', 'a'], ['ada', 'a'], ['carl', 'c'];
    is $es->post('/login', form => [user => 'ada', password => 'c'])->code, 403, 'a wrong password';
    is $es->get('/events')->status,                                         403, 'without a session there is no stream';
    my @files = glob "$folder/*";
    utime 1, 1, @files or die $!;
    my ($ends, @stay) = map { $es->get('/events', headers => $_) } $phone, $desk, $carl;
    $es->wait_for(sub { length $_->last_event_id }) for $ends, @stay;
    is_deeply [map { (stat)[9] } @files], [map { 1 } @files],
        'a stream writes no session, which may have been logged out';
    is $es->post('/publish', headers => $carl, form => [text => 'öne ☺'])->code, 204, 'a user publishes';
    next_is($_, 'message', 'öne ☺', 'all receive it') for $ends, @stay;

    is $es->get('/logout', headers => $phone)->status, 405, 'a link does not log out';
    is $es->post('/logout', headers => $phone)->code,  204, 'a session is logged out';
    next_is($ends, 'finish', 'finish', 'its stream is finished');
    $ends->ends_ok;
    is $ends->reconnect->status,                                              403, 'it does not come back';
    is $es->post('/publish', headers => $phone, form => [text => 'x'])->code, 403, 'the session is gone';
    $es->post('/publish', headers => $desk, form => [text => 'two']);
    next_is($_, 'message', 'two', 'the other session and the other user are unharmed') for @stay;
    is $es->post('/login', headers => $desk, form => [user => 'carl', password => 'c'])->code, 204,
        'carl logs in where ada is';
    next_is($stay[0], 'finish', 'finish', 'the stream of ada is finished');
    is $es->get('/events', headers => $desk)->status, 403, 'her session is gone';
    stop_with_hub($server, $env{SESSIONS_SOCKET});
    },
    'Starman';

recipe log_tail => sub {
    my $log = File::Temp->new;
    $log->autoflush;
    print {$log} "before\n";
    my $server  = start('log_tail', LOG_FILE => $log->filename);
    my $es      = client_of($server);
    my @streams = map { $es->get('/') } 1, 2;
    ok $es->wait_for(sub { length $_->last_event_id }), 'each client is sent its position' for @streams;
    print {$log} "one\nhal";
    next_is($_, 'message', 'one', 'both clients of the one worker receive a line') for @streams;
    print {$log} "f\nthree\n";
    next_is($streams[0], 'message', $_, "the line $_ is one event") for 'half', 'three';
    $streams[1]->close;
    $streams[1]->reconnect;
    next_is($streams[1], 'message', $_, "a client that reconnects receives $_") for 'half', 'three';
    next_is($es->get('/', last_event_id => 0), 'message', 'before', 'position 0 is the whole file');
    $_->close for @streams;
    ok wait_until(sub { !$server->strays }), 'the children end when their clients have left'
        or diag join ' ', $server->strays;
};

# The fragment that the library shows for a figure.
my %FRAGMENT = (
    htmx     => sub { qq{<dd id="$_[0]" hx-swap-oob="true">$_[1]</dd>} },
    turbo    => sub { qq{<turbo-stream action="update" target="$_[0]"><template>$_[1]</template></turbo-stream>} },
    datastar => sub { qq{<dd id="$_[0]">$_[1]</dd>} },
);
for my $library (sort keys %FRAGMENT) {
    recipe "dashboard_$library" => sub {
        my $server = start("dashboard_$library");
        my $es     = client_of($server);
        my $shown  = sub { return {channel => 'figures', key => $_[0], data => $FRAGMENT{$library}->(@_)} };
        like $es->request(GET => '/')->content, qr{<script.*\Q$library\E.*'/events'}s,
            'the page loads the library and opens the stream';
        is $es->post('/set', form => [name => 'load', value => $_])->code, 204, "the load is $_" for 1, 2;
        my $stream = $es->get('/events');
        next_json_is($stream, 'message', $shown->(load => 2), 'a new page receives the latest value');
        $es->post('/set', form => [name => 'users', value => "<i>\n7"]);
        next_json_is($stream, 'message', $shown->(users => "&lt;i&gt;\r\n7"), 'text of others is escaped');
        is $es->post('/set', form => [name => 'other', value => 1])->code, 400, 'an unknown figure is refused';
    };
}

recipe stock => sub {
    my $folder = File::Temp->newdir;
    my $server = start_workers('stock', STOCK_SOCKET => "$folder/hub");
    my $es     = client_of($server);
    is $es->post('/set', form => [item => 'bolt', left => $_])->code, 204, "bolt: $_" for 1, 2;
    my $stream = $es->get('/events');
    my %bolt   = (channel => 'stock', key => 'bolt');
    next_json_is($stream, 'message', {%bolt, data => 2}, 'a stream begins with what is left');
    $es->post('/set', form => [item => 'bolt']);
    next_json_is($stream, 'forget', {%bolt, forget => JSON::PP::true()}, 'then comes each change');
    stop_with_hub($server, "$folder/hub");
};

recipe orders => sub {
    Testing::Database::SQLite->require_or_skip_all;
    my $folder   = File::Temp->newdir;
    my $form     = Testing::OrderForm->new(Testing::Database::SQLite->start);
    my $server   = start_workers('orders', $form->environment, ORDERS_SOCKET => "$folder/hub");
    my $es       = client_of($server);
    my $stream   = $es->get('/events');
    my $follower = $form->follow("$folder/hub");
    my $order    = sub { $es->post('/order', form => [item => 'bolt', pieces => $_[0], card => $_[1]]) };
    my %bolt     = (channel => 'stock', key => 'bolt');
    is $es->post('/restock', form => [item => 'bolt', pieces => 10])->code, 204, 'there are bolts';
    next_json_is($stream, 'message', {%bolt, data => 10}, 'a stream shows what is committed') or diag $follower->log;
    is $order->(3,  4710)->content, 'the card is refused',   'an order fails after its events were written';
    is $order->(11, 4711)->content, 'there are not so many', 'another one before';
    is $order->(2,  4711)->code,    204,                     'one is accepted';
    next_json_is($stream, 'message', {%bolt, data => 8}, 'the stream shows that one only');
    is decode_json(next_event($stream)->{data})->{data}, '2 bolt', 'and the order';
    is_deeply [map { $es->post($_, form => [item => '<', pieces => 1, card => 1])->code } '/order', '/restock'],
        [400, 400],
        'what is no word is refused';
    $follower->stop;
    stop_with_hub($server, "$folder/hub");
};

recipe machines => sub {
    my $folder = File::Temp->newdir;
    my $server = start_workers('machines', MACHINES_SOCKET => "$folder/hub");
    my $es     = client_of($server);
    my @load   = (machine => 'web1', figure => 'load');
    is $es->post('/set', form => [@load, value => $_])->code, 204, "the load is $_" for 1, 2;
    my $stream = $es->get('/events');
    my %shown  = (channel => 'machine/web1', key => 'web1 load');
    next_json_is($stream, 'message', {%shown, data => ['web1', 'load', 2]}, 'a stream begins with the figures');
    $es->post('/set', form => \@load);
    next_json_is($stream, 'forget', {%shown, forget => JSON::PP::true()}, 'then comes each change');
    stop_with_hub($server, "$folder/hub");
};

recipe room => sub {
    my $folder = File::Temp->newdir;
    my $server = start_workers('room', ROOM_SOCKET => "$folder/hub", ROOM_SECRET => 'hush');
    my $es     = client_of($server);
    is $es->get('/events')->status, 403, 'a visitor has to enter first';
    my %stream;
    for my $name ('Ann', 'Bob') {
        my $cookie = $es->post('/enter', form => [name => $name])->header('Set-Cookie') =~ s/;.*//r;
        $stream{$name} = $es->get('/events', headers => [Cookie => $cookie]);
        my $event = next_event($stream{Ann});
        is_deeply [$event->{event}, decode_json($event->{data})->{name}], ['join', $name], "$name enters";
        next if $name eq 'Ann';
        is $es->post('/say', headers => [Cookie => $cookie], form => [text => 'hello'])->code, 204, 'Bob says hello';
    }
    next_json_is($stream{Ann}, 'said', {name => 'Bob', text => 'hello'}, 'Ann hears it');
    my $cookie = $es->post('/enter', form => [name => 'Eve'])->header('Set-Cookie') =~ s/;.*//r;
    $stream{Eve} = $es->get('/events', headers => [Cookie => $cookie]);
    my @first = map { next_event($stream{Eve}) } 1 .. 4;
    is_deeply [sort map { "$_->{event} " . decode_json($_->{data})->{name} } @first],
        ['join Ann', 'join Bob', 'join Eve', 'said Bob'], 'Eve, who comes later, is told who is here and what was said';
    $_->close for values %stream;
    stop_with_hub($server, "$folder/hub");
};

run_each([Testing::Server->names] => \&run_recipes);

for my $server (undef, 'Starman') {
    subtest_once 'testing, ' . ($server // 'in process') => sub {
        Testing::Server->require_or_skip_all($server) if $server;
        local $ENV{SERVER} = $server // '';
        my $test = Testing::Program->start(['examples/cookbook/testing.t']);
        ok wait_until(30, sub { $test->has_ended }), 'the test ends';
        is $test->stop, 0, 'it passes' or diag $test->log;
    };
}

subtest_once 'testing, with Test::Mojo' => sub {
    needs_module('Mojolicious');
    my $test = Testing::Program->start(['examples/frameworks/mojolicious.t']);
    ok wait_until(30, sub { $test->has_ended }), 'the test ends';
    is $test->stop, 0, 'it passes' or diag $test->log;
};

done_testing;
