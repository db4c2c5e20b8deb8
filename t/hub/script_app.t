# script_app: the browser's half, as a module and as a classic script, with what caches, browsers and other origins need.

use lib 't/lib';
use Testing;
use Compress::Zlib ();
use EventSource::Hub;
use Plack::Builder;
use Testing::SourceTree qw(slurp);

my $FOLDER = 'auto/share/dist/EventSource-XS';

my $module = EventSource::Hub->script_app;

# Returns the status, a hash of the headers and the body.
sub ask {
    my ($app, %env) = @_;
    my ($status, $headers, $body) = @{$app->({REQUEST_METHOD => 'GET', PATH_INFO => '', QUERY_STRING => '', %env})};
    return ($status, {@$headers}, join '', @$body);
}

# Returns the content of an installed file, which loads the other bundle from the URL of script_app.
sub installed {
    my $name    = shift;
    my ($path)  = grep { -e } map { "$_/$FOLDER/$name" } grep { !ref } @INC;
    my $version = EventSource::Hub->VERSION;
    return slurp($path) =~ s{query:""}{query:"?reader&v=$version"}r;
}

subtest 'the module' => sub {
    for my $path ('', '/') {
        my ($status, $header, $body) = ask($module, PATH_INFO => $path);
        is $status,                     200,                             "'$path': the status";
        is $body,                       installed('eventsource-hub.js'), "'$path': the body is the installed file";
        is $header->{'Content-Length'}, length $body,                    "'$path': its length";
    }
    my ($status, $header, $body) = ask($module);
    is $header->{'Content-Type'},                 'text/javascript; charset=utf-8', 'the type';
    is $header->{'X-Content-Type-Options'},       'nosniff',                        'no sniffing';
    is $header->{'Cross-Origin-Resource-Policy'}, 'cross-origin',                   'other origins may embed it';
    is $header->{'Access-Control-Allow-Origin'},  '*',                              'and import it';
    like $body, qr/\bexport\{[\w\$]+ as Parser,[\w\$]+ as connect\};\n?\z/, 'it exports what a page imports';
    is((ask($module, PATH_INFO => '/x'))[0], 404, 'another path');
    my $mounted = builder {
        mount '/hub.js' => $module;
    };
    is((ask($mounted, PATH_INFO => '/hub.js', SCRIPT_NAME => ''))[2], $body, 'mounted at a path');
};

subtest 'the classic script' => sub {
    my ($status, $header, $body) = ask(EventSource::Hub->script_app(classic => 1));
    is $status, 200,                                     'the status';
    is $body,   installed('eventsource-hub.classic.js'), 'the body is the installed file';
    ok $body =~ /^\(\(\)=>\{\n.*\bglobalThis[.]EventSourceHub=\{connect:[\w\$]+,Parser:[\w\$]+\};\n\}\)\(\);\n\z/ms,
        'both bundles in a function';
    isnt $header->{ETag}, (ask($module = EventSource::Hub->script_app))[1]{ETag}, 'it has an ETag of its own';
};

subtest 'the bundle that reads streams' => sub {
    for my $query (qw(reader v=0.1&reader reader&v=0.1&2)) {
        my ($status, $header, $body) = ask($module, QUERY_STRING => $query);
        is $status, 200,                                    "$query: the status";
        is $body,   installed('eventsource-hub-reader.js'), "$query: the body is the installed file";
    }
    like((ask($module))[2], qr/\bquery:"[?]reader&v=[0-9.]+"/, 'the module has its query');
    is((ask($module, QUERY_STRING => 'readers'))[2], (ask($module))[2], 'another query');
    isnt((ask($module, QUERY_STRING => 'reader'))[1]{ETag}, (ask($module))[1]{ETag}, 'an ETag of its own');
};

subtest 'methods' => sub {
    my ($status, $header, $body) = ask($module, REQUEST_METHOD => 'HEAD');
    is $status,                     200,                                    'HEAD: the status';
    is $body,                       '',                                     'HEAD: no body';
    is $header->{'Content-Length'}, length installed('eventsource-hub.js'), 'HEAD: the length of that to GET';
    ($status, $header) = ask($module, REQUEST_METHOD => 'POST');
    is $status,          405,         'POST: the status';
    is $header->{Allow}, 'GET, HEAD', 'POST: what is allowed';
};

subtest 'gzip, if the client accepts it' => sub {
    my %coding = (
        'gzip'                => 'gzip',
        'br, gzip;q=0.5'      => 'gzip',
        'zstd, gzip, deflate' => 'gzip',
        '*'                   => 'gzip',
        ''                    => undef,
        'br'                  => undef,
        'gzip;q=0'            => undef,
        'zstd'                => undef,
    );
    for my $accepted (sort keys %coding) {
        my ($status, $header, $body) = ask($module, HTTP_ACCEPT_ENCODING => $accepted);
        is $header->{'Content-Encoding'}, $coding{$accepted}, "'$accepted': the coding";
        is $header->{Vary},               'Accept-Encoding',  "'$accepted': caches tell the forms apart";
        is $header->{'Content-Length'},   length $body,       "'$accepted': the length";
        $body = Compress::Zlib::memGunzip($body) if $coding{$accepted};
        is $body, installed('eventsource-hub.js'), "'$accepted': the content";
    }
};

subtest 'a client that has the current content is sent nothing' => sub {
    my ($plain, $coded) =
        map { (ask($module, HTTP_ACCEPT_ENCODING => $_))[1]{ETag} } 'identity', 'gzip';
    like $plain, qr/\A"[^"]+"\z/, 'the ETag is a strong one';
    isnt $coded, $plain, 'each coding has one of its own';
    is((ask(EventSource::Hub->script_app))[1]{ETag}, $plain, 'it is the same in each process');
    for my $condition ($plain, "W/$plain", qq{"other", $plain}, qq{W/"a,b" ,W/$plain}, '*', ' * ') {
        for my $method (qw(GET HEAD)) {
            my ($status, $header, $body) = ask($module, REQUEST_METHOD => $method, HTTP_IF_NONE_MATCH => $condition);
            is $status, 304, "$method, $condition: the status";
            is $body,   '',  "$method, $condition: no body";
            is $header->{$_}, (ask($module))[1]{$_}, "$method, $condition: $_" for qw(ETag Cache-Control Vary);
            is_deeply [grep { /^Content-/ } keys %$header], [], "$method, $condition: it describes no body";
        }
    }
    for my $condition ('"other"', $coded, 'W/"', '', $plain =~ tr/"//dr) {
        is((ask($module, HTTP_IF_NONE_MATCH => $condition))[0], 200, "'$condition' is not the current one");
    }
};

subtest 'how long caches keep it' => sub {
    my $version = EventSource::Hub->VERSION;
    my %kept    = (
        ''                   => 'public, max-age=3600',
        'v=0.001'            => 'public, max-age=3600',
        "v=${version}1"      => 'public, max-age=3600',
        "w=1&wv=$version"    => 'public, max-age=3600',
        "v=$version"         => 'public, max-age=31536000, immutable',
        "w=1&v=$version&x=2" => 'public, max-age=31536000, immutable',
    );
    for my $query (sort keys %kept) {
        is((ask($module, QUERY_STRING => $query))[1]{'Cache-Control'}, $kept{$query}, "the query '$query'");
    }
};

done_testing;
