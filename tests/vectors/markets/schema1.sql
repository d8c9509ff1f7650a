PRAGMA application_id=1129925720;
PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE artifacts(
  number  INTEGER PRIMARY KEY,  -- gapless from 1
  account INTEGER NOT NULL,     -- whose it is; 0: nobody's
  at_us   INTEGER NOT NULL,
  name    TEXT NOT NULL,
  size    INTEGER NOT NULL,
  sha256  BLOB NOT NULL,        -- the blob's name beside the market
  job     INTEGER NOT NULL,     -- that left it; 0: none
  task    INTEGER NOT NULL,
  once    TEXT NOT NULL         -- the caller's key, or empty
) STRICT;
INSERT INTO "artifacts" VALUES(1,16,1767225600037000,'weights.bin',7,X'9A129038D9A00AED0CF6A7EA059CA50A813449061AB87848CF1A13EAFDF33B2C',0,0,'');
CREATE TABLE checkpoints(
  size INTEGER PRIMARY KEY,
  note TEXT NOT NULL  -- C2SP tlog-checkpoint, signed
) STRICT;
CREATE TABLE entries(
  id       INTEGER PRIMARY KEY,                  -- 8 * seq + its place in the transfer
  account  INTEGER NOT NULL,                     -- a wallet, or 1: the outside
  amount   INTEGER NOT NULL CHECK(amount <> 0),  -- micro-FLOPS
  previous INTEGER NOT NULL                      -- id of the account's entry before; 0 for its first
) STRICT;
INSERT INTO "entries" VALUES(72,1,-2000000000,0);
INSERT INTO "entries" VALUES(73,16,2000000000,0);
INSERT INTO "entries" VALUES(80,1,-500000000,72);
INSERT INTO "entries" VALUES(81,16,500000000,73);
INSERT INTO "entries" VALUES(88,16,-120000000,81);
INSERT INTO "entries" VALUES(89,18,120000000,0);
INSERT INTO "entries" VALUES(152,18,-4000000,89);
INSERT INTO "entries" VALUES(162,17,3230000,0);
INSERT INTO "entries" VALUES(163,18,200000,152);
INSERT INTO "entries" VALUES(168,18,-2000000,163);
INSERT INTO "entries" VALUES(177,18,2000000,168);
INSERT INTO "entries" VALUES(184,18,-5000000,177);
INSERT INTO "entries" VALUES(224,16,-500000,88);
INSERT INTO "entries" VALUES(234,17,212500,162);
INSERT INTO "entries" VALUES(235,16,250000,224);
INSERT INTO "entries" VALUES(240,16,-500000,235);
INSERT INTO "entries" VALUES(250,17,212500,234);
INSERT INTO "entries" VALUES(251,16,250000,240);
INSERT INTO "entries" VALUES(256,16,-500000,251);
INSERT INTO "entries" VALUES(266,17,212500,250);
INSERT INTO "entries" VALUES(267,16,250000,256);
INSERT INTO "entries" VALUES(272,16,-500000,267);
INSERT INTO "entries" VALUES(282,17,212500,266);
INSERT INTO "entries" VALUES(283,16,250000,272);
INSERT INTO "entries" VALUES(288,16,-500000,283);
INSERT INTO "entries" VALUES(298,17,212500,282);
INSERT INTO "entries" VALUES(299,16,250000,288);
INSERT INTO "entries" VALUES(304,16,-500000,299);
INSERT INTO "entries" VALUES(314,17,212500,298);
INSERT INTO "entries" VALUES(315,16,250000,304);
INSERT INTO "entries" VALUES(320,16,-500000,315);
INSERT INTO "entries" VALUES(330,17,212500,314);
INSERT INTO "entries" VALUES(331,16,250000,320);
INSERT INTO "entries" VALUES(336,16,-500000,331);
INSERT INTO "entries" VALUES(346,17,212500,330);
INSERT INTO "entries" VALUES(347,16,250000,336);
INSERT INTO "entries" VALUES(352,16,-500000,347);
INSERT INTO "entries" VALUES(362,17,212500,346);
INSERT INTO "entries" VALUES(363,16,250000,352);
INSERT INTO "entries" VALUES(368,16,-500000,363);
INSERT INTO "entries" VALUES(378,17,212500,362);
INSERT INTO "entries" VALUES(379,16,250000,368);
INSERT INTO "entries" VALUES(384,16,-500000,379);
INSERT INTO "entries" VALUES(394,17,212500,378);
INSERT INTO "entries" VALUES(395,16,250000,384);
INSERT INTO "entries" VALUES(400,16,-500000,395);
INSERT INTO "entries" VALUES(410,17,212500,394);
INSERT INTO "entries" VALUES(411,16,250000,400);
INSERT INTO "entries" VALUES(416,16,-500000,411);
INSERT INTO "entries" VALUES(426,17,212500,410);
INSERT INTO "entries" VALUES(427,16,250000,416);
INSERT INTO "entries" VALUES(432,16,-500000,427);
INSERT INTO "entries" VALUES(442,17,212500,426);
INSERT INTO "entries" VALUES(443,16,250000,432);
INSERT INTO "entries" VALUES(448,16,-500000,443);
INSERT INTO "entries" VALUES(458,17,212500,442);
INSERT INTO "entries" VALUES(459,16,250000,448);
INSERT INTO "entries" VALUES(464,16,-500000,459);
INSERT INTO "entries" VALUES(474,17,212500,458);
INSERT INTO "entries" VALUES(475,16,250000,464);
INSERT INTO "entries" VALUES(480,16,-500000,475);
INSERT INTO "entries" VALUES(490,17,212500,474);
INSERT INTO "entries" VALUES(491,16,250000,480);
INSERT INTO "entries" VALUES(496,16,-500000,491);
INSERT INTO "entries" VALUES(506,17,212500,490);
INSERT INTO "entries" VALUES(507,16,250000,496);
INSERT INTO "entries" VALUES(512,16,-500000,507);
INSERT INTO "entries" VALUES(522,17,212500,506);
INSERT INTO "entries" VALUES(523,16,250000,512);
INSERT INTO "entries" VALUES(528,16,-500000,523);
INSERT INTO "entries" VALUES(538,17,212500,522);
INSERT INTO "entries" VALUES(539,16,250000,528);
INSERT INTO "entries" VALUES(544,16,-500000,539);
INSERT INTO "entries" VALUES(554,17,212500,538);
INSERT INTO "entries" VALUES(555,16,250000,544);
INSERT INTO "entries" VALUES(560,16,-500000,555);
INSERT INTO "entries" VALUES(570,17,212500,554);
INSERT INTO "entries" VALUES(571,16,250000,560);
INSERT INTO "entries" VALUES(576,16,-500000,571);
INSERT INTO "entries" VALUES(586,17,212500,570);
INSERT INTO "entries" VALUES(587,16,250000,576);
INSERT INTO "entries" VALUES(592,16,-500000,587);
INSERT INTO "entries" VALUES(602,17,212500,586);
INSERT INTO "entries" VALUES(603,16,250000,592);
INSERT INTO "entries" VALUES(608,16,-500000,603);
INSERT INTO "entries" VALUES(618,17,212500,602);
INSERT INTO "entries" VALUES(619,16,250000,608);
INSERT INTO "entries" VALUES(624,16,-500000,619);
INSERT INTO "entries" VALUES(634,17,212500,618);
INSERT INTO "entries" VALUES(635,16,250000,624);
INSERT INTO "entries" VALUES(640,16,-500000,635);
INSERT INTO "entries" VALUES(650,17,212500,634);
INSERT INTO "entries" VALUES(651,16,250000,640);
INSERT INTO "entries" VALUES(656,16,-500000,651);
INSERT INTO "entries" VALUES(666,17,212500,650);
INSERT INTO "entries" VALUES(667,16,250000,656);
INSERT INTO "entries" VALUES(672,16,-500000,667);
INSERT INTO "entries" VALUES(682,17,212500,666);
INSERT INTO "entries" VALUES(683,16,250000,672);
INSERT INTO "entries" VALUES(688,16,-500000,683);
INSERT INTO "entries" VALUES(698,17,212500,682);
INSERT INTO "entries" VALUES(699,16,250000,688);
INSERT INTO "entries" VALUES(704,16,-500000,699);
INSERT INTO "entries" VALUES(714,17,212500,698);
INSERT INTO "entries" VALUES(715,16,250000,704);
INSERT INTO "entries" VALUES(720,16,-500000,715);
INSERT INTO "entries" VALUES(730,17,212500,714);
INSERT INTO "entries" VALUES(731,16,250000,720);
INSERT INTO "entries" VALUES(736,16,-500000,731);
INSERT INTO "entries" VALUES(746,17,212500,730);
INSERT INTO "entries" VALUES(747,16,250000,736);
INSERT INTO "entries" VALUES(752,16,-500000,747);
INSERT INTO "entries" VALUES(762,17,212500,746);
INSERT INTO "entries" VALUES(763,16,250000,752);
INSERT INTO "entries" VALUES(768,16,-500000,763);
INSERT INTO "entries" VALUES(778,17,212500,762);
INSERT INTO "entries" VALUES(779,16,250000,768);
INSERT INTO "entries" VALUES(784,16,-500000,779);
INSERT INTO "entries" VALUES(794,17,212500,778);
INSERT INTO "entries" VALUES(795,16,250000,784);
INSERT INTO "entries" VALUES(800,16,-500000,795);
INSERT INTO "entries" VALUES(810,17,212500,794);
INSERT INTO "entries" VALUES(811,16,250000,800);
INSERT INTO "entries" VALUES(816,16,-500000,811);
INSERT INTO "entries" VALUES(826,17,212500,810);
INSERT INTO "entries" VALUES(827,16,250000,816);
INSERT INTO "entries" VALUES(832,16,-500000,827);
INSERT INTO "entries" VALUES(842,17,212500,826);
INSERT INTO "entries" VALUES(843,16,250000,832);
INSERT INTO "entries" VALUES(848,16,-500000,843);
INSERT INTO "entries" VALUES(858,17,212500,842);
INSERT INTO "entries" VALUES(859,16,250000,848);
INSERT INTO "entries" VALUES(864,17,-1000000,858);
INSERT INTO "entries" VALUES(865,1,1000000,80);
INSERT INTO "entries" VALUES(872,16,-1000000,859);
INSERT INTO "entries" VALUES(896,1,-100000000,865);
INSERT INTO "entries" VALUES(897,16,100000000,872);
CREATE TABLE events(
  seq    INTEGER PRIMARY KEY,  -- gapless from 1
  at_us  INTEGER NOT NULL,     -- never before the event before
  kind   INTEGER NOT NULL,
  fields TEXT NOT NULL,        -- canonical JSON (RFC 8785)
  hash   BLOB NOT NULL         -- SHA-256 of the event's document, which names the hash before
) STRICT;
INSERT INTO "events" VALUES(1,1767225600000000,32,'{"fee_basis_points":1500,"issuer":"calyx","market":"f1845c3096321db62546e44e173497a7"}',X'9ABF2FE376EF86B53F02231B7199549910A6F3EE1C36275B8C262E8E7EB65363');
INSERT INTO "events" VALUES(2,1767225600000000,46,'{"public_key":"ojKeOIvJEreNjRsuvVehCghCKROPZofrX0UhX5hrFXo"}',X'8A81914AA926296D1C178AA6BF71D5701DEDA5E828B1548525FA196856424154');
INSERT INTO "events" VALUES(3,1767225600002000,33,'{"owner_id":"alice","owner_type":"human","wallet":16}',X'804AC4416A51B6FC8F96AF4AA1A27F74C8EE684FF0C2DCA9F35DE7F240D51928');
INSERT INTO "events" VALUES(4,1767225600002000,35,'{"delegate":"b7f2ed6cbbc43db27fe952faf2af5f6327f10b7e64a26b49a29b1368fe5f59bc","hash":"32f5d268a0672c13538dffb419d9d08a171e6d73a937d2284b886e769e7d2d90","key":1,"label":"","last4":"wZ4F","wallet":16}',X'9004CFB0B2C5FDF129704C6B78DD702CC9D2B1E5C4C4C0A5ADCB309A2029C3E0');
INSERT INTO "events" VALUES(5,1767225600003000,33,'{"owner_id":"gpu-host-7","owner_type":"human","wallet":17}',X'7399208D60F3987AD161DE549ED82816DC7953E88C58C36CDAEFF5B324BAF2BE');
INSERT INTO "events" VALUES(6,1767225600003000,35,'{"delegate":"4a391b9cfbcd28691cc5cf67fbee06dc7392b4bfa9d1f9628c537706cc1fc0bd","hash":"c2f0b507a21619d847374b7c8063e2f3ca4f9a1fe466f1e1d19859c93b0d8247","key":2,"label":"","last4":"k9DX","wallet":17}',X'4946E5E64E497B17DC04DD66D01D006C3B00F337DA74F0C3F7BCE85A502D8930');
INSERT INTO "events" VALUES(7,1767225600005000,33,'{"by":16,"owner_id":"agent-1","owner_type":"agent","parent":16,"policy":{"approval_threshold":"20.00","spend_cap_per_job":"9.00"},"wallet":18}',X'F3E09AAB7F5BA1749F909D44B7D23E61B13C4B394AA36984FB5499D474024462');
INSERT INTO "events" VALUES(8,1767225600005000,35,'{"delegate":"74a42d890efbad5102dbf4dd1463b6e8e2511f0e9f0e414ae604c65648bb0904","hash":"043a1996dcb88f7586f1d9be24f39e0c10a52c854a84f0dc5ec60d0edfc31220","key":3,"label":"","last4":"KPYa","wallet":18}',X'9E1F01E6B316D83C18D76C5DAC44FE54F5ED94F4C83C90E5005D421DBDD194B5');
INSERT INTO "events" VALUES(9,1767225600006000,40,'{"amount":"2000.00","wallet":16}',X'B43F803BD71C153EC7AE96F39BB94BDE10290EED86E504CD1F7482BEF8F837AF');
INSERT INTO "events" VALUES(10,1767225600007000,7,'{"amount":"500.00","reference":"invoice-1","wallet":16}',X'3E4385A5505026D07FE713324A3743B9DBDADAA12B2D415E23AC710C0F85610F');
INSERT INTO "events" VALUES(11,1767225600011000,6,'{"amount":"120.00","by":16,"from":16,"idempotency_key":"once-1","to":18}',X'19829125249CD89EEA7812BDC5280510B285DD47859C11A23228D833D2768696');
INSERT INTO "events" VALUES(12,1767225600012000,35,'{"by":16,"delegate":"3f2557b1df6545a4a8aa87cb111ae2987c9e71eccfcc59066633a67caeba4dfa","hash":"7db7f869bbb42c894e7a1c23b9a996f5a05875117cca786af047e1d9a07423ed","key":4,"label":"spare","last4":"N567","wallet":16}',X'EF76BB04C83E1FC9117876B07A515B88AB0FF00016203712460109DCF19EC7E1');
INSERT INTO "events" VALUES(13,1767225600013000,36,'{"key":4}',X'31C39987AFC59D3E122E44FA587C8BDC5C5223A9773AE8D8B28B49FC45E80DDF');
INSERT INTO "events" VALUES(14,1767225600014000,44,'{"owner_id":"carol"}',X'033D0EE22F2DD912BE6DDABBD8EE0DCB582EAA9FF87BE15D35B4596584D0CF52');
INSERT INTO "events" VALUES(15,1767225600015000,45,'{"entry":14}',X'9F1B92F2A4EDDD6A68A4229E9DE7722B963633ACD7C089386AD0CE08DAE18D92');
INSERT INTO "events" VALUES(16,1767225600015000,33,'{"owner_id":"carol","owner_type":"human","wallet":19}',X'781879ED0DCD29643D442903CD09D2E1BDBD8D87AF2F6E4680C4CA72176DE25F');
INSERT INTO "events" VALUES(17,1767225600015000,35,'{"delegate":"f63a216104c8d77860ef458ef31e2bcedcdfa429e84964458fc077955f8d6e60","hash":"a859750138337ce0f9d722f94ad80a79d484fa2bf66532f56982d01e1761a074","key":5,"label":"","last4":"mqpo","wallet":19}',X'E714CCCECA518DFD89FDB6A5A2D24391C9EE17C0513A737799A0849CEED02BB8');
INSERT INTO "events" VALUES(18,1767225600016000,35,'{"hash":"75e56661210dfd284ae6b89415c1c51c5d0f972165a6dbbef96588ea4a0e506c","key":6,"label":"night shift","last4":"TTNv"}',X'587FBFD7BDDE28037DFFF38422B90DB9515F43610F02F671D8470C231017097B');
INSERT INTO "events" VALUES(19,1767225600017000,1,'{"amount":"4.00","gpu_type":"CPU","host":17,"job_id":"job-1","wallet":18}',X'4DE9AC73FA821865CA35BC11ACD375E67C33307CC0869D0DC51EC9238105D8E5');
INSERT INTO "events" VALUES(20,1767225600018000,2,'{"duration_seconds":60,"fee":"0.57","gpu_model":"CPU","gross":"3.80","host":17,"leaf":0,"lock":19,"net":"3.23","output_hash":"abababababababababababababababababababababababababababababababab"}',X'5B9980729966077030903348711BAC756728B72D8A17673E0EA36046D64CBCB0');
INSERT INTO "events" VALUES(21,1767225600019000,1,'{"amount":"2.00","job_id":"job-2","wallet":18}',X'067160896CB7E2A7579FEABF2B035DB6A89A0442C132D1FD6F7AF264C3E640E0');
INSERT INTO "events" VALUES(22,1767225600020000,3,'{"lock":21}',X'EF893A2F0EF761E052BAF91CA6AFF84CFF67C70EAD5DCCF65583B146F9559F6D');
INSERT INTO "events" VALUES(23,1767225600021000,1,'{"amount":"5.00","host":17,"job_id":"job-3","wallet":18}',X'F4C428F46EA916B78CE576CB12D38346D081A49B6844BAD5840359BA6D0832AF');
INSERT INTO "events" VALUES(24,1767225600022000,34,'{"by":16,"policy":{"approval_threshold":"2.00","spend_cap_per_job":"9.00"},"status":"active","wallet":18}',X'6ADD4A93EEE2FDB1860B2E4B422C2C3B155E71710C3D6F50EF50ABFB7BFED922');
INSERT INTO "events" VALUES(25,1767225600023000,37,'{"amount":"3.00","expires_in_s":86400,"job_id":"job-4","operation":"spend","terms":"{\"amount\":\"3.00\",\"job_id\":\"job-4\",\"operation\":\"spend\"}","wallet":18}',X'985A59FD369F81218DB4F74A47A2B87F465E03718F26761A7208DE584FA86377');
INSERT INTO "events" VALUES(26,1767225600024000,38,'{"approval":25,"approved":true,"by":16}',X'72BC7631AEE80F8005352E44166252BA86E6BE420851D45FCC73A501FEBD65B9');
INSERT INTO "events" VALUES(27,1767225600025000,37,'{"amount":"3.00","expires_in_s":86400,"job_id":"job-5","operation":"spend","terms":"{\"amount\":\"3.00\",\"job_id\":\"job-5\",\"operation\":\"spend\"}","wallet":18}',X'374B0E67CB3ED01DC69665389D7F1DB32C276588BE5C54E93E467541291465C5');
INSERT INTO "events" VALUES(28,1767225600026000,1,'{"amount":"0.50","job_id":"small-0","wallet":16}',X'07AE7F84BD8B1A20561843C9D85FD8E41319A2F5564232391B4B99D0A472230C');
INSERT INTO "events" VALUES(29,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":1,"lock":28,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'E9D41982E53A01D17C988D41BD71683C67789658CE3EAA0EE2535A699B4B9D4C');
INSERT INTO "events" VALUES(30,1767225600026000,1,'{"amount":"0.50","job_id":"small-1","wallet":16}',X'ECE71731420F6201C00665AB5850459162BE3824C260583A544D713053638271');
INSERT INTO "events" VALUES(31,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":2,"lock":30,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'06AA258F96BE6E9AC6A45F1AAA600DF989198EC362783A55F7148BF45D1A90B1');
INSERT INTO "events" VALUES(32,1767225600026000,1,'{"amount":"0.50","job_id":"small-2","wallet":16}',X'A3DA2465978CF1784FA68196CBCA21C77BBD573C0599574CC4AE7FB3B65D0FF7');
INSERT INTO "events" VALUES(33,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":3,"lock":32,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'15EA5C2C397546B476131FF0E7A834A80C8157092EEDEB833A8984C5FADD3CEE');
INSERT INTO "events" VALUES(34,1767225600026000,1,'{"amount":"0.50","job_id":"small-3","wallet":16}',X'78853D830A24D62E723F155AF8E713E750380585B21E33D36FFC8F7ECEF38A60');
INSERT INTO "events" VALUES(35,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":4,"lock":34,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'BA3C8BFC557CC8818E5B5C7EC90FAF79BCE587D1B23B5A849D6AB33F3D1DA64C');
INSERT INTO "events" VALUES(36,1767225600026000,1,'{"amount":"0.50","job_id":"small-4","wallet":16}',X'4B15A5A4D4DCFDC509091105B15A1F5D50AC8A7FBCC91D76BBD0432C2AD8D30A');
INSERT INTO "events" VALUES(37,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":5,"lock":36,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'0EA948813CF2DED91493F118FEE2AD5D5BC7E7D121577FFC941900ECE03B43F2');
INSERT INTO "events" VALUES(38,1767225600026000,1,'{"amount":"0.50","job_id":"small-5","wallet":16}',X'4FE8C79D23A88F939EFB0FD114D67246923B14B5AA51AE367611DAE59401BC37');
INSERT INTO "events" VALUES(39,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":6,"lock":38,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'CE679F0D7BA4B52577AD0B14C7766F993F0E963AEF07434B6CFA2B2EFD424AA0');
INSERT INTO "events" VALUES(40,1767225600026000,1,'{"amount":"0.50","job_id":"small-6","wallet":16}',X'D813E09ACC7861FBB2B7109D769A40C797A56E26AE2D1D406331525828AE04F7');
INSERT INTO "events" VALUES(41,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":7,"lock":40,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'E1F48BBCB8B7C56092AE363D3707143BAAF269A8FAE33FBCD7B0C635403FDAD7');
INSERT INTO "events" VALUES(42,1767225600026000,1,'{"amount":"0.50","job_id":"small-7","wallet":16}',X'89A7719DCD1C610F530A89C0EF51940F67E483D100FDF074461A53261AE08DAA');
INSERT INTO "events" VALUES(43,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":8,"lock":42,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'D8BEEAAA1D116721B9923DA9C84E272766FBC6CEDE64BEA97C936B322498E075');
INSERT INTO "events" VALUES(44,1767225600026000,1,'{"amount":"0.50","job_id":"small-8","wallet":16}',X'91B91EE3C8ECD029D27C09F4D63713CAC950A35D993E48D6359382F959B3522C');
INSERT INTO "events" VALUES(45,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":9,"lock":44,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'9967A5BF694CF3635168EC39D781227A169A8E2F117117CB45C2AE255AD2B269');
INSERT INTO "events" VALUES(46,1767225600026000,1,'{"amount":"0.50","job_id":"small-9","wallet":16}',X'D3D698C726A24913715FA85698C3D9ED29E7927A677B7BBD48906F691EDB0165');
INSERT INTO "events" VALUES(47,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":10,"lock":46,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'1A50A1F3C8879BB90EE036D7FE2AC60D5E746D659DA3C8B8998B8C4C5E0503C5');
INSERT INTO "events" VALUES(48,1767225600026000,1,'{"amount":"0.50","job_id":"small-10","wallet":16}',X'31711E16ABA9A93A2747E8034E0B4004768B7B5DAFA4E5D5945E8961C2CA7A98');
INSERT INTO "events" VALUES(49,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":11,"lock":48,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'6F009E47FBDBFA39C677206343E7798D4993CC0CB540812DBF5CC7358DCF97C0');
INSERT INTO "events" VALUES(50,1767225600026000,1,'{"amount":"0.50","job_id":"small-11","wallet":16}',X'6DA0C76A04BF27FE15F7A56765BA57245E242954ACE5A21F977C98649048F4EB');
INSERT INTO "events" VALUES(51,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":12,"lock":50,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'7555437D7749E3057252D9AF9C05C8EC13E8EA4BDC40941CFBAB4DB3E918DBA6');
INSERT INTO "events" VALUES(52,1767225600026000,1,'{"amount":"0.50","job_id":"small-12","wallet":16}',X'83530485D69C264F0D73EF7F3EFE6A30D3C760D77EC27F01D41B325714AA612B');
INSERT INTO "events" VALUES(53,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":13,"lock":52,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'161B9CF9718E94DED0324FAC2CF9AB1D4F00BB0458416335F39D0D0AC623E54C');
INSERT INTO "events" VALUES(54,1767225600026000,1,'{"amount":"0.50","job_id":"small-13","wallet":16}',X'59C7718983083E9BE0E1E1CCF7B053B3B237D70235097A89EEF4EA3F6C1FEB5D');
INSERT INTO "events" VALUES(55,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":14,"lock":54,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'F5A082160F1B6316594F455DA5567094AE523898DA370582E8A63ECE0A6229B3');
INSERT INTO "events" VALUES(56,1767225600026000,1,'{"amount":"0.50","job_id":"small-14","wallet":16}',X'7310D2EE4C26EE48D5E55A039A06E3F323E0D010506635C15537D5328A18BF29');
INSERT INTO "events" VALUES(57,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":15,"lock":56,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'5958D36E77C1AB39B4D1B6A82045E8B758317628705FCB174C69AF59FB44567B');
INSERT INTO "events" VALUES(58,1767225600026000,1,'{"amount":"0.50","job_id":"small-15","wallet":16}',X'03ED01E5B49E4D1C5205B7CC6AEC5570B7CD8876C2FC02C182D8423904F3A7AB');
INSERT INTO "events" VALUES(59,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":16,"lock":58,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'1A648D13ED63142598F8863A4E2FDC3F359F6855F9E8428DDA40E5139DEDF4F0');
INSERT INTO "events" VALUES(60,1767225600026000,1,'{"amount":"0.50","job_id":"small-16","wallet":16}',X'17AB61029794DFF4D223B22D0B2B50504C76F268EA42AB08949050FAE8103383');
INSERT INTO "events" VALUES(61,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":17,"lock":60,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'15A0099408F296837097F5AB2553DC8DAD559CFF2273F8CADD5317235093CD65');
INSERT INTO "events" VALUES(62,1767225600026000,1,'{"amount":"0.50","job_id":"small-17","wallet":16}',X'ADEFD3ED92861EDEF1E907E2164D6030817699CBDDA38898F5DA81485664B8AD');
INSERT INTO "events" VALUES(63,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":18,"lock":62,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'22351AD5B617040704E5DE08CD42BFE1D10FFD4528D0A9B251224F37B5BBED18');
INSERT INTO "events" VALUES(64,1767225600026000,1,'{"amount":"0.50","job_id":"small-18","wallet":16}',X'1FF63C04C840E8D05B3DC624CA1D9ADAC065FBD46289BC14DFE7B57BCAA9B06D');
INSERT INTO "events" VALUES(65,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":19,"lock":64,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'F61304B31A019E9CF104144B45E7EAFDC35385AF30883F4A8EA2E63FAE10A3C3');
INSERT INTO "events" VALUES(66,1767225600026000,1,'{"amount":"0.50","job_id":"small-19","wallet":16}',X'0B378636AA149B5B69A5C34169B67757364B728696F8189EBA8D84B7C4AEDD10');
INSERT INTO "events" VALUES(67,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":20,"lock":66,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'BACB0E60E1DDE652DBF61E7D3618BAE4B7CFBD851A75D8C0EB887B1531B8BDF5');
INSERT INTO "events" VALUES(68,1767225600026000,1,'{"amount":"0.50","job_id":"small-20","wallet":16}',X'F212ABA1D01F1720E7BBCE87F0329804505A3CE176F5CEDB881CB6A7AD47ABA1');
INSERT INTO "events" VALUES(69,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":21,"lock":68,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'05D64AD0E1BDF9829D441C9AD4FB9519B0426E4CABA1363103CBA3DEB33F4C60');
INSERT INTO "events" VALUES(70,1767225600026000,1,'{"amount":"0.50","job_id":"small-21","wallet":16}',X'19AADB024A7929E156CFE8605C34CED1F6C269AA492C46820C48D7F6107E8F92');
INSERT INTO "events" VALUES(71,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":22,"lock":70,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'39C54510E0A2915DF46B4BA22B422C0D5BF5C9CAEEBBA949AA002A4660EF9DAA');
INSERT INTO "events" VALUES(72,1767225600026000,1,'{"amount":"0.50","job_id":"small-22","wallet":16}',X'9A7AD41B9E2E546FA22B0CB05A28A31023A764F7CB29FC8979EAEC5621C8F130');
INSERT INTO "events" VALUES(73,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":23,"lock":72,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'349EEB3A3F17DD729759C66001B3D57BB5291BAC7648B5FA6229F0B9E5714995');
INSERT INTO "events" VALUES(74,1767225600026000,1,'{"amount":"0.50","job_id":"small-23","wallet":16}',X'FD4C3A9D7758124F8D54A38257335398BE65A84BB014300CDCF022AFD79804E2');
INSERT INTO "events" VALUES(75,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":24,"lock":74,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'5621BF02EA39B76FE2336A0DA79B79E92A5D64D48974121D3B764BD743F2D355');
INSERT INTO "events" VALUES(76,1767225600026000,1,'{"amount":"0.50","job_id":"small-24","wallet":16}',X'7D92A9632462727469EAB955A8E110E010FE6F1DA6F9B3975E94DB2D66D97E85');
INSERT INTO "events" VALUES(77,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":25,"lock":76,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'B855F11311BFDEAC54491BA502A86717CE1F4AA0C277F9ACDBC93D2ADD5384B8');
INSERT INTO "events" VALUES(78,1767225600026000,1,'{"amount":"0.50","job_id":"small-25","wallet":16}',X'081B7F67958911F96C3E7275636B6E20CCA049F4276061D42291C6634B4CC011');
INSERT INTO "events" VALUES(79,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":26,"lock":78,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'39F54CFB8324E59FF9421E5606BCF1BC3BC7780E94424CD3A2709D9F93623C9B');
INSERT INTO "events" VALUES(80,1767225600026000,1,'{"amount":"0.50","job_id":"small-26","wallet":16}',X'C0770C31ECE051456E44E3CD036C9BC7FB730CADA28A3C7BA40AC0F81B9B9A02');
INSERT INTO "events" VALUES(81,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":27,"lock":80,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'F49578A4170A177760AB612BCB393FF21A1A5FB3AE9883DCC73A4E6C8C40AB22');
INSERT INTO "events" VALUES(82,1767225600026000,1,'{"amount":"0.50","job_id":"small-27","wallet":16}',X'9A9A4B30C3BDD6A0CD6B8056AA973F0A35CE234A122EBFAF84543A3BDE4E3903');
INSERT INTO "events" VALUES(83,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":28,"lock":82,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'2480384225269F1CB958915D13E059E95AC11DD224DBFA7444069E13E72299E2');
INSERT INTO "events" VALUES(84,1767225600026000,1,'{"amount":"0.50","job_id":"small-28","wallet":16}',X'DBA4CF972E2B0E38BA89B9747628369D5C1ED2104406369ABB21EFFDB04F3936');
INSERT INTO "events" VALUES(85,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":29,"lock":84,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'C897EBE46D987047E455CEEF88770A989251EC2CD822B7327271A309B44C1E87');
INSERT INTO "events" VALUES(86,1767225600026000,1,'{"amount":"0.50","job_id":"small-29","wallet":16}',X'4F1321B4A6FBE74EAA1D658A27B1B2209752A4FDB44AD6540A5A1B63763FC79B');
INSERT INTO "events" VALUES(87,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":30,"lock":86,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'5D63DC4D72C9C1E63AC18A89AF222238C72C602736E31B6106AF577A81623218');
INSERT INTO "events" VALUES(88,1767225600026000,1,'{"amount":"0.50","job_id":"small-30","wallet":16}',X'9FB793F7ADDFA822BAE64A9A7353C548781449F5E35239F6762E27625B93DF5F');
INSERT INTO "events" VALUES(89,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":31,"lock":88,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'ECCA1BE494138A51821FF08E9E1DCE120F8C8CCD767742364D04CC990421CE2C');
INSERT INTO "events" VALUES(90,1767225600026000,1,'{"amount":"0.50","job_id":"small-31","wallet":16}',X'CA3E9DBCC3A766E1B5985B420B06E175729C949C46316AF304453E3B82D7AE8D');
INSERT INTO "events" VALUES(91,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":32,"lock":90,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'80C6D488DEC6ACC29ECA494CFB9BE3067A5E2BC7478CA9372DE9B70999BB39BE');
INSERT INTO "events" VALUES(92,1767225600026000,1,'{"amount":"0.50","job_id":"small-32","wallet":16}',X'C543FF4398E5E47882F46E237910482EB0C6E698F3B7C021526B9A4C27ECD746');
INSERT INTO "events" VALUES(93,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":33,"lock":92,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'07E123D4EEA2E376E88CE8C704B88E1410544FEED4E4B812DB89A55F8430173E');
INSERT INTO "events" VALUES(94,1767225600026000,1,'{"amount":"0.50","job_id":"small-33","wallet":16}',X'C15574241D8C5960B8767EA3260F042CEDDF96691EFF574D2102589CFC883E59');
INSERT INTO "events" VALUES(95,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":34,"lock":94,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'7B037C050C3256F6F52CA653F2CFEDAEFA675238EE3B4C5F34923FDAD6ED07A4');
INSERT INTO "events" VALUES(96,1767225600026000,1,'{"amount":"0.50","job_id":"small-34","wallet":16}',X'6233F72ED9BA1F2BA84475B36CF5381ECC034C357BBBA56E81FF3AB6BD27902B');
INSERT INTO "events" VALUES(97,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":35,"lock":96,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'C2E5B4A86A8979404938FB786D0F52931F00BE772A2253A3314F3C68B758BBA5');
INSERT INTO "events" VALUES(98,1767225600026000,1,'{"amount":"0.50","job_id":"small-35","wallet":16}',X'3753CC3DD2654C47FDEF046EE3E5F6C76DD542388CF094DD60F79C9DF57DFA90');
INSERT INTO "events" VALUES(99,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":36,"lock":98,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'29D70C95A2822386341352B3756D05C0A2A77DEB1FD30BB87220A2FA8EE04A7C');
INSERT INTO "events" VALUES(100,1767225600026000,1,'{"amount":"0.50","job_id":"small-36","wallet":16}',X'4A5024454190C79018A9E8DD276F1D5A9243B5F041ECB8289522862D3782006D');
INSERT INTO "events" VALUES(101,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":37,"lock":100,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'946AE89B7224AB7BEA23F5DDB9901AF6DE8C7749AD7975D0E9CB84FEF6F4C584');
INSERT INTO "events" VALUES(102,1767225600026000,1,'{"amount":"0.50","job_id":"small-37","wallet":16}',X'9650388B9DBE4CF23079F94410F18013C06C20C6E33C7EF07A10FD9B5503AB00');
INSERT INTO "events" VALUES(103,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":38,"lock":102,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'AACCFFECC02D7BEC582F2B26F7287E245F6D0D37CBFE99F26CDBE9291E397B3A');
INSERT INTO "events" VALUES(104,1767225600026000,1,'{"amount":"0.50","job_id":"small-38","wallet":16}',X'BC9B6E8E2E35D0B99B2C3272BE3A00A241F1638B7E49182728BA9B02525361E2');
INSERT INTO "events" VALUES(105,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":39,"lock":104,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'93DF2013156CE90E73B1855E23467C4FDCB4B37DE71DB42F6F4AA7669C6B4D32');
INSERT INTO "events" VALUES(106,1767225600026000,1,'{"amount":"0.50","job_id":"small-39","wallet":16}',X'B1FA1E51D0CAE2739562384C8E1A4644C5F6A24F660932064D34FE63DB37DE0C');
INSERT INTO "events" VALUES(107,1767225600026000,2,'{"duration_seconds":1,"fee":"0.0375","gpu_model":"CPU","gross":"0.25","host":17,"leaf":40,"lock":106,"net":"0.2125","output_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}',X'9F493C4BAEA56AA97518AACE7598BDED963D0AF84A06CE2EAF341326931EC31B');
INSERT INTO "events" VALUES(108,1767225600027000,41,'{"amount":"1.00","by":17,"destination":"bank:1","wallet":17}',X'1CF0ECB8CD8EDCCAF33575FF891F07589F448F9ED45A3489BEF5EE400E6A231A');
INSERT INTO "events" VALUES(109,1767225600029000,1,'{"amount":"1.00","job_id":"narrow-1","under":["ca62f9b000cce8e24c09aabca89353571429b61c629e875c3baf111d6677a562"],"wallet":16}',X'82FF0A3FEFE3A8F5FF02255FE5B5F2BC7CCDA6D22404BCAF3F569E2778A9071C');
INSERT INTO "events" VALUES(110,1767225600030000,46,'{"public_key":"suLaCutFLZiWiaAhjgXAqXzzRjV0fsqsbz_KTbE5cR0"}',X'C9F99EAB14A35AEB44CB44F4BDFA451A29C316E8C5759544D2EA7CDE547BB5F8');
INSERT INTO "events" VALUES(111,1767225600041000,48,'{"base_url":"https://calyx.example","networks":[{"asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","fee_payer":"","network":"eip155:8453","pay_to":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}],"realm":""}',X'C72D3638AA27BDAAFB0F208D6CB437146E86FE9A4DA501C6366185BE54552279');
INSERT INTO "events" VALUES(112,1767225600043000,7,'{"amount":"100.00","reference":"qte_01KDVDNA1A0000000103RR8Q1G","wallet":16}',X'1FCD94A45A89E4C8C4F3DA6FAF60D7D8623F2D82D6A4C1CC4E3FF5D63B7F5252');
CREATE TABLE failures(
  job      INTEGER NOT NULL,
  task     INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  failure  INTEGER NOT NULL,
  message  TEXT NOT NULL,
  PRIMARY KEY(job, task)
) STRICT, WITHOUT ROWID;
CREATE TABLE feedback(
  number      INTEGER PRIMARY KEY,  -- gapless from 1
  at_us       INTEGER NOT NULL,
  type        INTEGER NOT NULL,
  title       TEXT NOT NULL,
  description TEXT NOT NULL
) STRICT;
CREATE TABLE job_edges(
  upstream   INTEGER NOT NULL,
  downstream INTEGER NOT NULL,
  PRIMARY KEY(upstream, downstream)
) STRICT, WITHOUT ROWID;
CREATE TABLE job_events(
  job    INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at_us  INTEGER NOT NULL,
  body   TEXT NOT NULL,
  PRIMARY KEY(job, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "job_events" VALUES(1,1,1767225600033000,'{"event":"submitted","status":"queued","tasks":3}');
INSERT INTO "job_events" VALUES(1,2,1767225600035000,'{"event":"started"}');
INSERT INTO "job_events" VALUES(1,3,1767225600035000,'{"completed":3,"event":"ended","failed":0,"output_hash":"sha256:a615eeaee21de5179de080de8c3052c8da901138406ba71c38c032845f7d54f4","status":"completed"}');
INSERT INTO "job_events" VALUES(2,1,1767225600036000,'{"event":"submitted","status":"queued","tasks":50}');
CREATE TABLE job_items(
  job   INTEGER NOT NULL,
  first INTEGER NOT NULL,
  body  TEXT NOT NULL,  -- a JSON array
  PRIMARY KEY(job, first)
) STRICT, WITHOUT ROWID;
INSERT INTO "job_items" VALUES(1,0,'[1,2,3]');
INSERT INTO "job_items" VALUES(2,0,'[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49]');
CREATE TABLE job_states(
  number    INTEGER PRIMARY KEY,
  account   INTEGER NOT NULL,
  status    INTEGER NOT NULL,
  priority  INTEGER NOT NULL,
  ready     INTEGER NOT NULL,  -- 1: it has a task to hand out, now or later; 2: its tasks have all ended
  waiting   INTEGER NOT NULL,  -- jobs that must complete first
  fresh     INTEGER NOT NULL,  -- the first task that was never handed out
  completed INTEGER NOT NULL,
  failed    INTEGER NOT NULL,
  running   INTEGER NOT NULL,
  backups   INTEGER NOT NULL,  -- tasks that two workers have
  retrying  INTEGER NOT NULL,
  attempts  INTEGER NOT NULL,  -- that were charged, if for nothing
  low_funds INTEGER NOT NULL,  -- 1: it was told that the money will not last
  charged   INTEGER NOT NULL,
  committed INTEGER NOT NULL,
  host      INTEGER NOT NULL,  -- 0: nobody took a task; -1: several
  ran_ms    INTEGER NOT NULL,
  started   INTEGER NOT NULL,
  ended     INTEGER NOT NULL,
  failure   INTEGER NOT NULL,
  error     TEXT NOT NULL,
  receipt   INTEGER NOT NULL,
  receipts  INTEGER NOT NULL,  -- one a host, from leaf `receipt` on
  output    BLOB,              -- SHA-256 of the merged result
  events    INTEGER NOT NULL
) STRICT;
INSERT INTO "job_states" VALUES(1,16,3,1,0,0,3,3,0,0,0,0,3,0,0,0,17,0,1767225600035000,1767225600035000,0,'',-1,0,X'A615EEAEE21DE5179DE080DE8C3052C8DA901138406BA71C38C032845F7D54F4',3);
INSERT INTO "job_states" VALUES(2,16,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,'',-1,0,NULL,1);
CREATE TABLE job_times(
  job    INTEGER NOT NULL,
  bucket INTEGER NOT NULL,  -- of a duration, as core/job.hpp counts them
  count  INTEGER NOT NULL,  -- of tasks that took so long
  PRIMARY KEY(job, bucket)
) STRICT, WITHOUT ROWID;
CREATE TABLE jobs(
  number  INTEGER PRIMARY KEY,  -- gapless from 1
  account INTEGER NOT NULL,     -- the payer's wallet; 0: nobody's
  at_us   INTEGER NOT NULL,
  once    TEXT NOT NULL,        -- the caller's key, or empty
  request BLOB NOT NULL,        -- SHA-256 of the whole request
  input   BLOB NOT NULL,        -- SHA-256 of what the tasks are made from, as a receipt says it
  spec    TEXT NOT NULL,        -- the request without its explicit items: canonical JSON
  tasks   INTEGER NOT NULL,
  items   INTEGER NOT NULL,
  lock    INTEGER NOT NULL,     -- seq of the event that holds its budget; 0: it costs nothing
  hold    INTEGER NOT NULL,     -- what that holds
  rate    INTEGER NOT NULL,     -- micro-FLOPS a second of a task
  revision INTEGER NOT NULL     -- of its project; 0: it names none
) STRICT;
INSERT INTO "jobs" VALUES(1,16,1767225600033000,'',X'CEB3E677CFAC82A61875A0F39087954BD216F765DEC905F958F4E8030CBE5E7C',X'9498FCA7959EC09DC01DD3720B81D4D907DAC9CE03FF7F392C122C3F36A3CE1E','{"job":{"callback_url":"https://10.0.0.9/calyx","fan_out":{"by":"x"},"payload":{"x":[]},"task":"square","timeout_s":1},"recipe":""}',3,3,0,0,0,0);
INSERT INTO "jobs" VALUES(2,16,1767225600036000,'',X'0CECBDD7DF6202C75F94EA03B12C8A4EB009849A48AFC82E845A2090735E120F',X'95CBD03C22B8A1312F44A96622AE73A7158BB9AF79D8752039616EDFAB8F71F1','{"job":{"fan_out":{"by":"x"},"payload":{"x":[]},"task":"square","timeout_s":1},"recipe":""}',50,50,0,0,0,0);
CREATE TABLE key_spends(    -- what derived keys sent out and what of it came back, by their blocks
  block  BLOB NOT NULL,        -- SHA-256 of the block's signature
  seq    INTEGER NOT NULL,
  lock   INTEGER NOT NULL,     -- the spend's event: seq, or an earlier one whose rest comes back
  amount INTEGER NOT NULL,     -- micro-FLOPS; what comes back is below 0
  total  INTEGER NOT NULL,     -- the sum of the block's amounts so far
  PRIMARY KEY(block, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO "key_spends" VALUES(X'CA62F9B000CCE8E24C09AABCA89353571429B61C629E875C3BAF111D6677A562',109,109,1000000,1000000);
CREATE TABLE leases(
  token   INTEGER PRIMARY KEY,
  job     INTEGER NOT NULL,
  first   INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  lost    INTEGER NOT NULL,
  worker  TEXT NOT NULL,
  host    INTEGER NOT NULL,
  since   INTEGER NOT NULL,  -- the last report, or the lease itself
  expires INTEGER NOT NULL,
  copied  INTEGER NOT NULL   -- 1: its one task is, or was, also in another lease
) STRICT;
CREATE TABLE locks(
  job_id TEXT NOT NULL,
  payer  INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  amount INTEGER NOT NULL,  -- credits the lock's escrow account; 0: the job id was burned
  PRIMARY KEY(job_id, payer)
) STRICT, WITHOUT ROWID;
INSERT INTO "locks" VALUES('job-1',18,19,4000000);
INSERT INTO "locks" VALUES('job-2',18,21,2000000);
INSERT INTO "locks" VALUES('job-3',18,23,5000000);
INSERT INTO "locks" VALUES('narrow-1',16,109,1000000);
INSERT INTO "locks" VALUES('small-0',16,28,500000);
INSERT INTO "locks" VALUES('small-1',16,30,500000);
INSERT INTO "locks" VALUES('small-10',16,48,500000);
INSERT INTO "locks" VALUES('small-11',16,50,500000);
INSERT INTO "locks" VALUES('small-12',16,52,500000);
INSERT INTO "locks" VALUES('small-13',16,54,500000);
INSERT INTO "locks" VALUES('small-14',16,56,500000);
INSERT INTO "locks" VALUES('small-15',16,58,500000);
INSERT INTO "locks" VALUES('small-16',16,60,500000);
INSERT INTO "locks" VALUES('small-17',16,62,500000);
INSERT INTO "locks" VALUES('small-18',16,64,500000);
INSERT INTO "locks" VALUES('small-19',16,66,500000);
INSERT INTO "locks" VALUES('small-2',16,32,500000);
INSERT INTO "locks" VALUES('small-20',16,68,500000);
INSERT INTO "locks" VALUES('small-21',16,70,500000);
INSERT INTO "locks" VALUES('small-22',16,72,500000);
INSERT INTO "locks" VALUES('small-23',16,74,500000);
INSERT INTO "locks" VALUES('small-24',16,76,500000);
INSERT INTO "locks" VALUES('small-25',16,78,500000);
INSERT INTO "locks" VALUES('small-26',16,80,500000);
INSERT INTO "locks" VALUES('small-27',16,82,500000);
INSERT INTO "locks" VALUES('small-28',16,84,500000);
INSERT INTO "locks" VALUES('small-29',16,86,500000);
INSERT INTO "locks" VALUES('small-3',16,34,500000);
INSERT INTO "locks" VALUES('small-30',16,88,500000);
INSERT INTO "locks" VALUES('small-31',16,90,500000);
INSERT INTO "locks" VALUES('small-32',16,92,500000);
INSERT INTO "locks" VALUES('small-33',16,94,500000);
INSERT INTO "locks" VALUES('small-34',16,96,500000);
INSERT INTO "locks" VALUES('small-35',16,98,500000);
INSERT INTO "locks" VALUES('small-36',16,100,500000);
INSERT INTO "locks" VALUES('small-37',16,102,500000);
INSERT INTO "locks" VALUES('small-38',16,104,500000);
INSERT INTO "locks" VALUES('small-39',16,106,500000);
INSERT INTO "locks" VALUES('small-4',16,36,500000);
INSERT INTO "locks" VALUES('small-5',16,38,500000);
INSERT INTO "locks" VALUES('small-6',16,40,500000);
INSERT INTO "locks" VALUES('small-7',16,42,500000);
INSERT INTO "locks" VALUES('small-8',16,44,500000);
INSERT INTO "locks" VALUES('small-9',16,46,500000);
CREATE TABLE milestones(  -- every 64th entry of an account
  account INTEGER NOT NULL,
  entry   INTEGER NOT NULL,
  PRIMARY KEY(account, entry)
) STRICT, WITHOUT ROWID;
INSERT INTO "milestones" VALUES(16,704);
CREATE TABLE nonces(
  account  TEXT NOT NULL,     -- CAIP-10; empty: until_us is the latest of those that were forgotten
  nonce    TEXT NOT NULL,
  until_us INTEGER NOT NULL,
  PRIMARY KEY(account, nonce)
) STRICT, WITHOUT ROWID;
CREATE TABLE outputs(
  job      INTEGER NOT NULL,
  task     INTEGER NOT NULL,
  attempt  INTEGER NOT NULL,  -- whose output it is
  out      TEXT NOT NULL,
  err      TEXT NOT NULL,
  out_dropped INTEGER NOT NULL,
  err_dropped INTEGER NOT NULL,
  progress TEXT NOT NULL,
  tried    INTEGER NOT NULL,  -- attempts, as the last one ended that was not the last word
  failure  INTEGER NOT NULL,  -- and how that did
  message  TEXT NOT NULL,
  PRIMARY KEY(job, task)
) STRICT, WITHOUT ROWID;
CREATE TABLE parts(         -- what hosts were paid of a lock before the settlement that ended it
  lock   INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  amount INTEGER NOT NULL,     -- debits the lock's escrow account
  fee    INTEGER NOT NULL,     -- credits the platform's fees
  PRIMARY KEY(lock, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE payment_states(
  payment  INTEGER PRIMARY KEY,
  status   INTEGER NOT NULL,  -- 0: authorized, 1: settling, 2: paid, 3: failed
  ended_us INTEGER NOT NULL,
  seq      INTEGER NOT NULL,  -- the top-up of a paid one
  credited INTEGER NOT NULL,  -- micro-FLOPS
  text     TEXT NOT NULL      -- the transaction, or why it failed
) STRICT;
INSERT INTO "payment_states" VALUES(1,2,1767225600043000,112,100000000,'0xf00d');
CREATE TABLE payments(
  number       INTEGER PRIMARY KEY,  -- gapless from 1
  quote        INTEGER NOT NULL,
  surplus      INTEGER NOT NULL,     -- 1: beside the quote, whose own one has 0
  at_us        INTEGER NOT NULL,
  protocol     INTEGER NOT NULL,     -- 0: x402 v1, 1: x402 v2, 2: MPP
  network      TEXT NOT NULL,        -- CAIP-2
  asset        TEXT NOT NULL,
  payer        TEXT NOT NULL,
  nonce        TEXT NOT NULL,
  pay_to       TEXT NOT NULL,
  amount       TEXT NOT NULL,        -- in the token's atomic units
  credit       INTEGER NOT NULL,     -- the same in micro-FLOPS
  valid_before INTEGER NOT NULL,     -- us
  payload      TEXT NOT NULL,        -- as it came
  on_chain     TEXT NOT NULL         -- the transaction that the payer named, or empty
) STRICT;
INSERT INTO "payments" VALUES(1,1,0,1767225600043000,1,'eip155:8453','0x833589fcd6edb6e08f4c7c32d4f71b54bda02913','0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266','0xc6c98c39962c85de394c0591820f3c384be1808e10274e0beb22b167d94ad5ed','0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc','1000000',100000000,1767225900000000,'eyJ4NDAyVmVyc2lvbiI6MiwicGF5bG9hZCI6eyJhdXRob3JpemF0aW9uIjp7ImZyb20iOiIweGYzOUZkNmU1MWFhZDg4RjZGNGNlNmFCODgyNzI3OWNmZkZiOTIyNjYiLCJ0byI6IjB4M0M0NENkRGRCNmE5MDBmYTJiNTg1ZGQyOTllMDNkMTJGQTQyOTNCQyIsInZhbHVlIjoiMTAwMDAwMCIsInZhbGlkQWZ0ZXIiOiIwIiwidmFsaWRCZWZvcmUiOiIxNzY3MjI1OTAwIiwibm9uY2UiOiIweGM2Yzk4YzM5OTYyYzg1ZGUzOTRjMDU5MTgyMGYzYzM4NGJlMTgwOGUxMDI3NGUwYmViMjJiMTY3ZDk0YWQ1ZWQifSwic2lnbmF0dXJlIjoiMHhjODgyYTQwMzUxYjc4NjU0MTA0MzM3NzVhYzM3OTg1ZjI2NjQwYTJkOGYwNGNjZTJjMGZlN2U4MDFkMmYzY2I2NTkyOWU4ZDE1NTkzOWZmZjA4NWFjOGNiNWY3ZDg3ODQ3MjZiYjhlMDBiYmM4MjZkMzM2OWI1NjgxNWZjM2U1NjFjIn0sInJlc291cmNlIjp7InVybCI6Imh0dHBzOi8vY2FseXguZXhhbXBsZS92MS9hY2NvdW50L3F1b3Rlcy9xXzcvcGF5IiwiZGVzY3JpcHRpb24iOiJjYWx5eCB0b3AtdXAiLCJtaW1lVHlwZSI6ImFwcGxpY2F0aW9uL2pzb24ifSwiYWNjZXB0ZWQiOnsic2NoZW1lIjoiZXhhY3QiLCJuZXR3b3JrIjoiZWlwMTU1Ojg0NTMiLCJhbW91bnQiOiIxMDAwMDAwIiwiYXNzZXQiOiIweDgzMzU4OWZDRDZlRGI2RTA4ZjRjN0MzMkQ0ZjcxYjU0YmRBMDI5MTMiLCJwYXlUbyI6IjB4M0M0NENkRGRCNmE5MDBmYTJiNTg1ZGQyOTllMDNkMTJGQTQyOTNCQyIsIm1heFRpbWVvdXRTZWNvbmRzIjozMDAsImV4dHJhIjp7Im5hbWUiOiJVU0QgQ29pbiIsInZlcnNpb24iOiIyIn19fQ==','');
CREATE TABLE project_kv(
  project INTEGER NOT NULL,
  key     TEXT NOT NULL,
  value   TEXT NOT NULL,     -- JSON
  version INTEGER NOT NULL,
  PRIMARY KEY(project, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "project_kv" VALUES(1,'best','{"score":1}',1);
CREATE TABLE project_states(
  number      INTEGER PRIMARY KEY,
  account     INTEGER NOT NULL,
  name        TEXT NOT NULL,
  remote_dir  TEXT NOT NULL,
  description TEXT NOT NULL,
  active      INTEGER NOT NULL,  -- the last revision; 0: none yet
  warmed      INTEGER NOT NULL,  -- the same, once it was prepared
  invalidated INTEGER NOT NULL,
  deleted     INTEGER NOT NULL,  -- when; 0: it is there
  kv_keys     INTEGER NOT NULL
) STRICT;
INSERT INTO "project_states" VALUES(1,16,'hello','','',1,0,0,0,1);
CREATE TABLE projects(
  number  INTEGER PRIMARY KEY,  -- gapless from 1
  account INTEGER NOT NULL,     -- whose it is; 0: nobody's
  at_us   INTEGER NOT NULL,
  name    TEXT NOT NULL,
  before  INTEGER NOT NULL      -- the last revision of an older project of this name
) STRICT;
INSERT INTO "projects" VALUES(1,16,1767225600038000,'hello',0);
CREATE TABLE quotes(
  number     INTEGER PRIMARY KEY,  -- gapless from 1
  at_us      INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  account    INTEGER NOT NULL,     -- the wallet that is credited
  kind       INTEGER NOT NULL,     -- 0: topup, 1: shortfall, 2: credits, 3: call
  amount     INTEGER NOT NULL,     -- micro-FLOPS
  scope      INTEGER NOT NULL,     -- whose key `once` is; 0: the operators'; -1: a call's words
  once       TEXT NOT NULL         -- the caller's key, or empty
) STRICT;
INSERT INTO "quotes" VALUES(1,1767225600042000,1767226500042000,16,0,100000000,16,'');
INSERT INTO "quotes" VALUES(2,1767225600044000,1767226500044000,16,0,7000000,16,'');
CREATE TABLE receipts(
  leaf      INTEGER PRIMARY KEY,  -- place in the receipt log, from 0
  seq       INTEGER NOT NULL,
  key       INTEGER NOT NULL,     -- place among the signing keys
  payload   BLOB NOT NULL,        -- the bytes that were signed, as receipt_text.hpp packs them
  signature BLOB NOT NULL
) STRICT;
INSERT INTO "receipts" VALUES(0,20,0,X'010004332E383004332E323304302E35370236300431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E41304A3030303030303030303352523851314714323032362D30312D30315430303A30303A30305A0563616C7978056A6F622D31FA5B9980729966077030903348711BAC756728B72D8A17673E0EA36046D64CBCB0023230FAABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB1A30314B4456444E413035303030303030304A30335252385131471A30314B4456444E41304A303030303030304D3033525238513147017D',X'0E6F17759407A643E2B381DB2B31AD240BE872A9D31E6D63B28E19D23A533C0833467C0A7C1C5AF28BA086694D21768CD85F30FA8F49B7F34EE27B6397188F06');
INSERT INTO "receipts" VALUES(1,29,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303031303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D30FAE9D41982E53A01D17C988D41BD71683C67789658CE3EAA0EE2535A699B4B9D4C023239FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303030583033525238513147017D',X'7283EBF0F4B7A5D2B22143FE4AF533727E0B2851B18F28C5082729FEB1C10019A55106D146B51B73D8C95323FB77330E57A03504FF4FE72410A7B44038CC520D');
INSERT INTO "receipts" VALUES(2,31,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303032303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D31FA06AA258F96BE6E9AC6A45F1AAA600DF989198EC362783A55F7148BF45D1A90B1023331FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E413054303030303030305A3033525238513147017D',X'11602580A78EF13D77CF0CEBFE5387565E62E0C5DCEDE37767326C9FD29523F676E6BAFA5D5EAC5C1609083475F67E6C2005D6140A470C29BCD34CAF551B410C');
INSERT INTO "receipts" VALUES(3,33,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303033303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D32FA15EA5C2C397546B476131FF0E7A834A80C8157092EEDEB833A8984C5FADD3CEE023333FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031313033525238513147017D',X'7D9C48B0559D82F9181DF3864F7174FA5935532097EB81E681C3DA586565969B3F4588E2D3893456F9A01A692549DE6A585B2E5A4F69101B76E2E3DDC142C40F');
INSERT INTO "receipts" VALUES(4,35,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303034303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D33FABA3C8BFC557CC8818E5B5C7EC90FAF79BCE587D1B23B5A849D6AB33F3D1DA64C023335FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031333033525238513147017D',X'215160D22643A8BDA5868462718C5F993BF6DF92ECBC0690D6E04E6584D1044C96E330845C82094E1BF510353F0A8D9E46E83FE6E79BCD721F9EE7784C7B4709');
INSERT INTO "receipts" VALUES(5,37,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303035303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D34FA0EA948813CF2DED91493F118FEE2AD5D5BC7E7D121577FFC941900ECE03B43F2023337FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031353033525238513147017D',X'07982C40578DB0DCF498753DE2CF1C5AF102DD7C19FC64FB723701A5927BFCE949FD407E274133ED172C46F75324C07375DD5F5C84A30B4F9185F4900E55330A');
INSERT INTO "receipts" VALUES(6,39,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303036303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D35FACE679F0D7BA4B52577AD0B14C7766F993F0E963AEF07434B6CFA2B2EFD424AA0023339FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031373033525238513147017D',X'1438180245EC06079AFE535AF9785720F887243089E1B8B1D84C39A3DBF285DE8552364731E09EF965EA18F33050FA6D0CFAA67FA7E84D68639BADD79346510C');
INSERT INTO "receipts" VALUES(7,41,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303037303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D36FAE1F48BBCB8B7C56092AE363D3707143BAAF269A8FAE33FBCD7B0C635403FDAD7023431FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031393033525238513147017D',X'12EB9A17710ED845988619225BDF48499C767055960BB069B20AD5712D53E7FDD574933CF6ABB22ED0EED5499FA6F4BE1930548B4D449FB4FCDFAA228D283909');
INSERT INTO "receipts" VALUES(8,43,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303038303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D37FAD8BEEAAA1D116721B9923DA9C84E272766FBC6CEDE64BEA97C936B322498E075023433FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031423033525238513147017D',X'99F641978A338AF49C5A34A78303E24B0BEFAFE359B5BC24FC1D0862C909D684C866A7818EBCD1F7901D40DA824E91C9F1D2ED80845CA1C95FAFAF64B152DA07');
INSERT INTO "receipts" VALUES(9,45,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303039303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D38FA9967A5BF694CF3635168EC39D781227A169A8E2F117117CB45C2AE255AD2B269023435FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031443033525238513147017D',X'B8981658170CF432C4D93B73EC29D830662DC628D796871F451DF76F4EB7A088B05E99DB3970AF6CF3A276696DB08065CEC43E9C18614A8269FE1D2A35B3470D');
INSERT INTO "receipts" VALUES(10,47,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303041303352523851314714323032362D30312D30315430303A30303A30305A0563616C797807736D616C6C2D39FA1A50A1F3C8879BB90EE036D7FE2AC60D5E746D659DA3C8B8998B8C4C5E0503C5023437FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031463033525238513147017D',X'7A38A79B5B525B245D47B00481CA087A38E471F60C17569D33A022845E6C1D26CAA35DD3D2D0B06BD1C83B99E0CC431CE3A97B0096E23ECAEB03999B41207E0C');
INSERT INTO "receipts" VALUES(11,49,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303042303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3130FA6F009E47FBDBFA39C677206343E7798D4993CC0CB540812DBF5CC7358DCF97C0023439FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031483033525238513147017D',X'2D4BEA51A69C7328EFD1A8B974CCEB841E5E75D876BBE821AA359AFC5188ADDD68274667297CCF0DC8707359303711FC2475404EE9B3650E3A09F3024C73850E');
INSERT INTO "receipts" VALUES(12,51,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303043303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3131FA7555437D7749E3057252D9AF9C05C8EC13E8EA4BDC40941CFBAB4DB3E918DBA6023531FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E413054303030303030314B3033525238513147017D',X'D90C94B8566041CDA827F0B3AB6FC5EE94EF7C1F85F6820561D279025E64525795168AD1AF1A58D378E3BCECA61C2F94E0D8DC30FD7F57EF5AE4D77A3EAC6509');
INSERT INTO "receipts" VALUES(13,53,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303044303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3132FA161B9CF9718E94DED0324FAC2CF9AB1D4F00BB0458416335F39D0D0AC623E54C023533FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E413054303030303030314E3033525238513147017D',X'6B39C1A9F64E792D3F13B91438EB882F6DAD75F14646C1C5A3CC720322A29AA1C0D49CF8555F2665DBAD3630519438F1C7C97A5269C1A5F85830430040A03101');
INSERT INTO "receipts" VALUES(14,55,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303045303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3133FAF5A082160F1B6316594F455DA5567094AE523898DA370582E8A63ECE0A6229B3023535FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031513033525238513147017D',X'88C27C0DA76A57E885023559E8A0C5CE4374E8DA29930A6AA6B77D5CE05DB06DD7026B213EB58D30420BD61D1869E0BBA7DBE92B31E9126FF1D42712F9086E0C');
INSERT INTO "receipts" VALUES(15,57,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303046303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3134FA5958D36E77C1AB39B4D1B6A82045E8B758317628705FCB174C69AF59FB44567B023537FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031533033525238513147017D',X'7E5D19406993EFDE9B0B6A691A8AD05794E34674D242FBBA0D5E33F541A1B95BBDE4D4DBCB70CA2C796D7C10A60A749BD0E8322A8CAFCEB7B2D3FE3E21C40803');
INSERT INTO "receipts" VALUES(16,59,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303047303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3135FA1A648D13ED63142598F8863A4E2FDC3F359F6855F9E8428DDA40E5139DEDF4F0023539FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031563033525238513147017D',X'8F4058DC271666DA3A60245D3B0DFF41480241F44F63295912D0EEBE637B0F27D4AE208D9C9C9CB07570C6BD508DB5A837C0CA4211AAE1CC08C7B15141B1B80E');
INSERT INTO "receipts" VALUES(17,61,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303048303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3136FA15A0099408F296837097F5AB2553DC8DAD559CFF2273F8CADD5317235093CD65023631FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303031583033525238513147017D',X'A925DCF5A3BD7D689EABCB36B6111EC403678CA2D7D4FEF093775EFE964F1495A80D9C8D962F45B9A43303C212C00B46819CCA15637EF498C587A0C845159D09');
INSERT INTO "receipts" VALUES(18,63,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E413054303030303030304A303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3137FA22351AD5B617040704E5DE08CD42BFE1D10FFD4528D0A9B251224F37B5BBED18023633FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E413054303030303030315A3033525238513147017D',X'D48806D43BACF8027D0800D3AEC3DB78D52B8339D77995C5457DB893E24E72FBEAB0CE7529CDD264F91D2AD7B354A0FF22D9A1BB97A9BF747EF9FC9642A40A0E');
INSERT INTO "receipts" VALUES(19,65,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E413054303030303030304B303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3138FAF61304B31A019E9CF104144B45E7EAFDC35385AF30883F4A8EA2E63FAE10A3C3023635FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032313033525238513147017D',X'E5248A7128932545AC1BFD3B2AEE3CA5FCB1CECF03B8E74B76B2AF8045372F44BD10641BDE79528529FEBF519D78E53FB8463862BD4ABB6E23F29950268BD704');
INSERT INTO "receipts" VALUES(20,67,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E413054303030303030304D303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3139FABACB0E60E1DDE652DBF61E7D3618BAE4B7CFBD851A75D8C0EB887B1531B8BDF5023637FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032333033525238513147017D',X'CFCF542C902019AAC5EFAEFBAC3F2191DB94B93D29A16E4FC5F8A895919192346763D234A56F6A7C96C9C00AC0231B98CC3BF1946DB1F6A53295F80A57C6B302');
INSERT INTO "receipts" VALUES(21,69,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E413054303030303030304E303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3230FA05D64AD0E1BDF9829D441C9AD4FB9519B0426E4CABA1363103CBA3DEB33F4C60023639FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032353033525238513147017D',X'EC8526DAE2850B84F6277502A911FA622CA0D7F2104C9F6712B6FB182066205FED852759C4D36344F9D5D948FF42B632723792070AE7FFD5AA1A286B90A0FA0B');
INSERT INTO "receipts" VALUES(22,71,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303050303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3231FA39C54510E0A2915DF46B4BA22B422C0D5BF5C9CAEEBBA949AA002A4660EF9DAA023731FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032373033525238513147017D',X'5EBA9E4812B6651BCA14728A78ECD7466FFDF7D2268ECE03B3227661FA5BE5E2EF6A34DF877352C91DD06B09BBF51FB8C60EACE462DF6DB730DAB3D636CF6009');
INSERT INTO "receipts" VALUES(23,73,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303051303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3232FA349EEB3A3F17DD729759C66001B3D57BB5291BAC7648B5FA6229F0B9E5714995023733FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032393033525238513147017D',X'7C71BD802F0205841B231B9EC62902A22FA20CD7CC9558E68C88091AB1FD7184ECB90299F6832229AE5834B8A47CFE960BE2714D4FC562E5608F776B052AE405');
INSERT INTO "receipts" VALUES(24,75,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303052303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3233FA5621BF02EA39B76FE2336A0DA79B79E92A5D64D48974121D3B764BD743F2D355023735FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032423033525238513147017D',X'09603A29C5AECC86771C64462F47B118ABE4FA7CD943A80A0805E9BDFA98D8E65608318E6029CDE2953509D780DC0BD443FAFD2583361A443D6332DC8B444307');
INSERT INTO "receipts" VALUES(25,77,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303053303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3234FAB855F11311BFDEAC54491BA502A86717CE1F4AA0C277F9ACDBC93D2ADD5384B8023737FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032443033525238513147017D',X'1480DAB7E83FEC9F933F360F5F651117581DE1E98A2280BA99B84C5BC039EE9747AD16938292EB4C05951259CB3D81DA65F636F0F4DD2C131632F1A2F1B1920D');
INSERT INTO "receipts" VALUES(26,79,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303054303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3235FA39F54CFB8324E59FF9421E5606BCF1BC3BC7780E94424CD3A2709D9F93623C9B023739FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032463033525238513147017D',X'B531604FCA3CEE22C9C0BE4EB3D235D1E7A0C5808E34C919070A6DAC0F7F8D2BD5D8D6CAC04AB4B00D755BB778A21FBFB6E162C610D9AED2D2F0F7D405530103');
INSERT INTO "receipts" VALUES(27,81,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303056303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3236FAF49578A4170A177760AB612BCB393FF21A1A5FB3AE9883DCC73A4E6C8C40AB22023831FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032483033525238513147017D',X'B92BCF9869FBEE93B37A7F92EC4FD6BB9897C16BC61FF74F9C39657AF2B15040912F0396B2C46BE08ACC35DBCC994B41037B1FF7B3B8FB10F12F1D69BC720B0E');
INSERT INTO "receipts" VALUES(28,83,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303057303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3237FA2480384225269F1CB958915D13E059E95AC11DD224DBFA7444069E13E72299E2023833FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E413054303030303030324B3033525238513147017D',X'F22973C2DE0C1AA114347EAFAAB2828069224350B8F11DFAA39EB0551FE6A34C64AF89279EAA2567D54C14B1422E573279210BF9043641417E62DD3A794D2707');
INSERT INTO "receipts" VALUES(29,85,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303058303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3238FAC897EBE46D987047E455CEEF88770A989251EC2CD822B7327271A309B44C1E87023835FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E413054303030303030324E3033525238513147017D',X'B386BF4E42ADBBA6C690042BE0293392B034D4B99EE4BACF42F1E98BEC54D59FE3B02DED7242E52DA030C6AA27C6CABD1D62E637D5281B616DAF67A6D31E6D00');
INSERT INTO "receipts" VALUES(30,87,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303059303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3239FA5D63DC4D72C9C1E63AC18A89AF222238C72C602736E31B6106AF577A81623218023837FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032513033525238513147017D',X'344A15F03FDCA20A6F84C367976EDC1C3007BC79359B61E7683512F99B674A7953B709780830C0FF3A377EF5C98D22D093A14ED63B36A249BC9C132A6E50CD05');
INSERT INTO "receipts" VALUES(31,89,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E413054303030303030305A303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3330FAECCA1BE494138A51821FF08E9E1DCE120F8C8CCD767742364D04CC990421CE2C023839FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032533033525238513147017D',X'63BAD40F0D2AF9D5E9192E1C97EB747336E2A1595075908AF250F1AA55D75BFF3F04D5775A11C8E6BECE758692F216885B0846F515E1D526C33A7C6FE1269C06');
INSERT INTO "receipts" VALUES(32,91,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303130303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3331FA80C6D488DEC6ACC29ECA494CFB9BE3067A5E2BC7478CA9372DE9B70999BB39BE023931FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032563033525238513147017D',X'E74A14EC5E01AF54060502E86F547918956970EF23ECDAFF8BBBACC4AFFEE82FDAC0FBED7B134EA64BEE441BEF1C5B027DBB4A928FB1920894627C1049BEE30C');
INSERT INTO "receipts" VALUES(33,93,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303131303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3332FA07E123D4EEA2E376E88CE8C704B88E1410544FEED4E4B812DB89A55F8430173E023933FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303032583033525238513147017D',X'891D559AE45DBEC0212CF0C97B8EA1E1961CBD15D9C04FC4C3C373433B25DCC6D655DCCEFC7153F8248F5E6CB80BC51EE24C08A206A0569D4952B30461E6A00F');
INSERT INTO "receipts" VALUES(34,95,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303132303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3333FA7B037C050C3256F6F52CA653F2CFEDAEFA675238EE3B4C5F34923FDAD6ED07A4023935FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E413054303030303030325A3033525238513147017D',X'842961768448AAB805A5466000D0627642394BB34BDF4EE6BA8602EF9291102CB5DE370732049A8A7B3A394DFFF7D4D5ABCE48A51F76117BD62B9CAFABA14608');
INSERT INTO "receipts" VALUES(35,97,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303133303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3334FAC2E5B4A86A8979404938FB786D0F52931F00BE772A2253A3314F3C68B758BBA5023937FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303033313033525238513147017D',X'431CD7A72954490CB15BDC1A4E0E08D45F27ECE84D5159D9D079F97A86AEAE3BFEAD269FE87957628A7A4B7051B7B0A2313E5512DEEE768F5C4735FC3DF72C0F');
INSERT INTO "receipts" VALUES(36,99,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303134303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3335FA29D70C95A2822386341352B3756D05C0A2A77DEB1FD30BB87220A2FA8EE04A7C023939FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303033333033525238513147017D',X'2D5E7859F2C313AE800CF16AC5B1229E5F3B1677C1E0228635F06B0363CC7705B0A5610B87A38B1794181048712DF165EE338493B71C654EECAB745BC5D1610C');
INSERT INTO "receipts" VALUES(37,101,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303135303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3336FA946AE89B7224AB7BEA23F5DDB9901AF6DE8C7749AD7975D0E9CB84FEF6F4C58403313031FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303033353033525238513147017D',X'2DB509FF1B1B2219C93F6CEEA7973E850D9CFFDAAB0A1E32DAAF882D2E5013D45BF2811EDF8000F4B992E9F78C85C720D7E119BCD4B7A6CA3DFAB3C0DC6FA10A');
INSERT INTO "receipts" VALUES(38,103,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303136303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3337FAAACCFFECC02D7BEC582F2B26F7287E245F6D0D37CBFE99F26CDBE9291E397B3A03313033FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303033373033525238513147017D',X'2AD2893410A89860C2275FD19440DD93CD5EA8770CF92727DF3816681F9F9CAC053864299F2250A38714DFC6AC48473198EE260D90B0F5296A4EEEBEA8F88A00');
INSERT INTO "receipts" VALUES(39,105,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303137303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3338FA93DF2013156CE90E73B1855E23467C4FDCB4B37DE71DB42F6F4AA7669C6B4D3203313035FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303033393033525238513147017D',X'23747DA2C2BFC7B8B2EE3EA16E92B717F83514CBADD7D5517ED2CA80E91D514930474FAD82DE386557F63546E9F7A9E21CDC7C59BD64175C7447AB0DCBA38003');
INSERT INTO "receipts" VALUES(40,107,0,X'010004302E323506302E3231323506302E3033373501310431353030034350551A30314B4456444E413033303030303030304830335252385131471A30314B4456444E4130543030303030303138303352523851314714323032362D30312D30315430303A30303A30305A0563616C797808736D616C6C2D3339FA9F493C4BAEA56AA97518AACE7598BDED963D0AF84A06CE2EAF341326931EC31B03313037FACDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD1A30314B4456444E413032303030303030304730335252385131471A30314B4456444E41305430303030303033423033525238513147017D',X'B5062DC8F3ADFE7CCCC99998ED9367DF7D3EE3C026E203EFD569647A5F9CCEA7876D8F2A4A737DBF5BC7069EE44655EFBB030AC3559CA6176A0877C42161DC02');
CREATE TABLE requests(
  scope INTEGER NOT NULL,
  kind  INTEGER NOT NULL,
  key   TEXT NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY(scope, kind, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "requests" VALUES(16,1,'once-1',11);
INSERT INTO "requests" VALUES(16,2,'invoice-1',10);
INSERT INTO "requests" VALUES(16,2,'qte_01KDVDNA1A0000000103RR8Q1G',112);
CREATE TABLE resolutions(
  lock   INTEGER PRIMARY KEY,  -- a lock ends once
  seq    INTEGER NOT NULL,
  amount INTEGER NOT NULL,     -- debits the lock's escrow account
  fee    INTEGER NOT NULL      -- credits the platform's fees
) STRICT;
INSERT INTO "resolutions" VALUES(19,20,4000000,570000);
INSERT INTO "resolutions" VALUES(21,22,2000000,0);
INSERT INTO "resolutions" VALUES(28,29,500000,37500);
INSERT INTO "resolutions" VALUES(30,31,500000,37500);
INSERT INTO "resolutions" VALUES(32,33,500000,37500);
INSERT INTO "resolutions" VALUES(34,35,500000,37500);
INSERT INTO "resolutions" VALUES(36,37,500000,37500);
INSERT INTO "resolutions" VALUES(38,39,500000,37500);
INSERT INTO "resolutions" VALUES(40,41,500000,37500);
INSERT INTO "resolutions" VALUES(42,43,500000,37500);
INSERT INTO "resolutions" VALUES(44,45,500000,37500);
INSERT INTO "resolutions" VALUES(46,47,500000,37500);
INSERT INTO "resolutions" VALUES(48,49,500000,37500);
INSERT INTO "resolutions" VALUES(50,51,500000,37500);
INSERT INTO "resolutions" VALUES(52,53,500000,37500);
INSERT INTO "resolutions" VALUES(54,55,500000,37500);
INSERT INTO "resolutions" VALUES(56,57,500000,37500);
INSERT INTO "resolutions" VALUES(58,59,500000,37500);
INSERT INTO "resolutions" VALUES(60,61,500000,37500);
INSERT INTO "resolutions" VALUES(62,63,500000,37500);
INSERT INTO "resolutions" VALUES(64,65,500000,37500);
INSERT INTO "resolutions" VALUES(66,67,500000,37500);
INSERT INTO "resolutions" VALUES(68,69,500000,37500);
INSERT INTO "resolutions" VALUES(70,71,500000,37500);
INSERT INTO "resolutions" VALUES(72,73,500000,37500);
INSERT INTO "resolutions" VALUES(74,75,500000,37500);
INSERT INTO "resolutions" VALUES(76,77,500000,37500);
INSERT INTO "resolutions" VALUES(78,79,500000,37500);
INSERT INTO "resolutions" VALUES(80,81,500000,37500);
INSERT INTO "resolutions" VALUES(82,83,500000,37500);
INSERT INTO "resolutions" VALUES(84,85,500000,37500);
INSERT INTO "resolutions" VALUES(86,87,500000,37500);
INSERT INTO "resolutions" VALUES(88,89,500000,37500);
INSERT INTO "resolutions" VALUES(90,91,500000,37500);
INSERT INTO "resolutions" VALUES(92,93,500000,37500);
INSERT INTO "resolutions" VALUES(94,95,500000,37500);
INSERT INTO "resolutions" VALUES(96,97,500000,37500);
INSERT INTO "resolutions" VALUES(98,99,500000,37500);
INSERT INTO "resolutions" VALUES(100,101,500000,37500);
INSERT INTO "resolutions" VALUES(102,103,500000,37500);
INSERT INTO "resolutions" VALUES(104,105,500000,37500);
INSERT INTO "resolutions" VALUES(106,107,500000,37500);
CREATE TABLE results(
  job      INTEGER NOT NULL,
  first    INTEGER NOT NULL,
  count    INTEGER NOT NULL,
  attempts INTEGER NOT NULL,  -- each of them took
  body     TEXT NOT NULL,     -- a JSON array of `count` results
  PRIMARY KEY(job, first)
) STRICT, WITHOUT ROWID;
INSERT INTO "results" VALUES(1,0,3,1,'[1,2,3]');
CREATE TABLE retries(
  job        INTEGER NOT NULL,
  task       INTEGER NOT NULL,
  attempts   INTEGER NOT NULL,
  lost       INTEGER NOT NULL,
  not_before INTEGER NOT NULL,
  PRIMARY KEY(job, task)
) STRICT, WITHOUT ROWID;
CREATE TABLE revisions(
  project  INTEGER NOT NULL,
  number   INTEGER NOT NULL,
  at_us    INTEGER NOT NULL,
  sha256   BLOB NOT NULL,     -- of the tarball
  size     INTEGER NOT NULL,
  files    TEXT NOT NULL,     -- a JSON array
  manifest TEXT NOT NULL,     -- a JSON object
  PRIMARY KEY(project, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "revisions" VALUES(1,1,1767225600039000,X'A8CCDE21899D14416FA89E8FC36028C3CDE2BDFB990625F878115B234670CEB6',116,'[{"mode":420,"path":"task.py","sha256":"03e693d9f2f687e0f40e36a8df7fcb4d1c22974012b7c2a55c000eb30f305824","size":15}]','{}');
CREATE TABLE skipped_files(
  job  INTEGER NOT NULL,
  task INTEGER NOT NULL,
  body TEXT NOT NULL,  -- a JSON array of {name, why}
  PRIMARY KEY(job, task)
) STRICT, WITHOUT ROWID;
CREATE TABLE tiles(
  level INTEGER NOT NULL,
  place INTEGER NOT NULL,
  hash  BLOB NOT NULL,
  PRIMARY KEY(level, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE uploads(
  number   INTEGER PRIMARY KEY,  -- gapless from 1
  account  INTEGER NOT NULL,
  at_us    INTEGER NOT NULL,
  expires  INTEGER NOT NULL,
  name     TEXT NOT NULL,
  size     INTEGER,
  sha256   BLOB,
  ticket   BLOB,                 -- SHA-256 of its secret; null: an upload in parts
  once     TEXT NOT NULL,
  artifact INTEGER NOT NULL      -- what it became; 0: it is open; -1: given up
) STRICT;
CREATE TABLE usage(
  lease      INTEGER NOT NULL,
  sequence   INTEGER NOT NULL,
  job        INTEGER NOT NULL,
  host       INTEGER NOT NULL,
  attempts   INTEGER NOT NULL,
  charged_ms INTEGER NOT NULL,
  amount     INTEGER NOT NULL,
  PRIMARY KEY(job, lease, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE webhook_secrets(
  account INTEGER NOT NULL,
  version INTEGER NOT NULL,  -- from 1; the secret follows from it and the key file
  at_us   INTEGER NOT NULL,
  PRIMARY KEY(account, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "webhook_secrets" VALUES(16,1,1767225600032000);
CREATE TABLE webhook_states(
  job      INTEGER PRIMARY KEY,
  status   INTEGER NOT NULL,  -- 0: pending, 1: delivered, 2: dead
  attempts INTEGER NOT NULL,
  claims   INTEGER NOT NULL,  -- the token of who took it last
  due_us   INTEGER NOT NULL,
  last_us  INTEGER NOT NULL,
  answered INTEGER NOT NULL,  -- HTTP status; 0: none
  error    TEXT NOT NULL
) STRICT;
INSERT INTO "webhook_states" VALUES(1,0,0,0,1767225600035000,0,0,'');
CREATE TABLE webhooks(
  job   INTEGER PRIMARY KEY,  -- whose end it tells
  at_us INTEGER NOT NULL,
  body  TEXT NOT NULL         -- JSON, as it is signed and sent
) STRICT;
INSERT INTO "webhooks" VALUES(1,1767225600035000,'{"data":{"completed":3,"failed":0,"job_id":"job_01KDVDNA110000000103RR8Q1G","status":"completed","tasks":3},"timestamp":"2026-01-01T00:00:00Z","type":"job.completed"}');
CREATE TABLE zero_earnings(  -- settlements that paid their host nothing, so that it has no entry
  host INTEGER NOT NULL,
  seq  INTEGER NOT NULL,
  PRIMARY KEY(host, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX standing_events ON events(seq) WHERE kind >= 32;
CREATE VIEW ledger(account, seq, amount) AS
  SELECT account, id / 8, amount FROM entries
  UNION ALL SELECT 1099511627776 + seq, seq, amount FROM locks WHERE amount <> 0
  UNION ALL SELECT 1099511627776 + lock, seq, -amount FROM resolutions WHERE amount <> 0
  UNION ALL SELECT 1099511627776 + lock, seq, -amount FROM parts
  UNION ALL SELECT 2, seq, fee FROM resolutions WHERE fee <> 0
  UNION ALL SELECT 2, seq, fee FROM parts WHERE fee <> 0;
CREATE INDEX jobs_once ON jobs(account, once) WHERE once <> '';
CREATE INDEX job_states_account ON job_states(account, number);
CREATE INDEX job_states_ready ON job_states(number) WHERE ready > 0;
CREATE INDEX job_states_live ON job_states(number) WHERE status < 3;
CREATE INDEX job_states_running ON job_states(account) WHERE running > 0;
CREATE INDEX leases_job ON leases(job, first);
CREATE INDEX leases_expires ON leases(expires);
CREATE INDEX retries_due ON retries(job, not_before);
CREATE INDEX project_states_name ON project_states(account, name, number);
CREATE INDEX webhook_states_due ON webhook_states(due_us) WHERE status = 0;
CREATE INDEX webhook_states_dead ON webhook_states(job) WHERE status = 2;
CREATE INDEX artifacts_job ON artifacts(job, task) WHERE job <> 0;
CREATE INDEX artifacts_once ON artifacts(account, once) WHERE once <> '';
CREATE INDEX uploads_once ON uploads(account, once) WHERE once <> '';
CREATE INDEX quotes_account ON quotes(account, number);
CREATE UNIQUE INDEX quotes_once ON quotes(scope, once) WHERE once <> '';
CREATE UNIQUE INDEX payments_nonce ON payments(network, asset, payer, nonce);
CREATE UNIQUE INDEX payments_own ON payments(quote) WHERE surplus = 0;
CREATE INDEX payments_quote ON payments(quote, number);
CREATE INDEX payment_states_under_way ON payment_states(payment) WHERE status < 2;
CREATE INDEX payment_states_paid ON payment_states(text) WHERE status = 2;
CREATE INDEX nonces_until ON nonces(until_us);
CREATE TRIGGER events_no_UPDATE BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events is append-only'); END;
CREATE TRIGGER events_no_DELETE BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events is append-only'); END;
CREATE TRIGGER entries_no_UPDATE BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries is append-only'); END;
CREATE TRIGGER entries_no_DELETE BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries is append-only'); END;
CREATE TRIGGER milestones_no_UPDATE BEFORE UPDATE ON milestones BEGIN SELECT RAISE(ABORT, 'milestones is append-only'); END;
CREATE TRIGGER milestones_no_DELETE BEFORE DELETE ON milestones BEGIN SELECT RAISE(ABORT, 'milestones is append-only'); END;
CREATE TRIGGER locks_no_UPDATE BEFORE UPDATE ON locks BEGIN SELECT RAISE(ABORT, 'locks is append-only'); END;
CREATE TRIGGER locks_no_DELETE BEFORE DELETE ON locks BEGIN SELECT RAISE(ABORT, 'locks is append-only'); END;
CREATE TRIGGER resolutions_no_UPDATE BEFORE UPDATE ON resolutions BEGIN SELECT RAISE(ABORT, 'resolutions is append-only'); END;
CREATE TRIGGER resolutions_no_DELETE BEFORE DELETE ON resolutions BEGIN SELECT RAISE(ABORT, 'resolutions is append-only'); END;
CREATE TRIGGER parts_no_UPDATE BEFORE UPDATE ON parts BEGIN SELECT RAISE(ABORT, 'parts is append-only'); END;
CREATE TRIGGER parts_no_DELETE BEFORE DELETE ON parts BEGIN SELECT RAISE(ABORT, 'parts is append-only'); END;
CREATE TRIGGER zero_earnings_no_UPDATE BEFORE UPDATE ON zero_earnings BEGIN SELECT RAISE(ABORT, 'zero_earnings is append-only'); END;
CREATE TRIGGER zero_earnings_no_DELETE BEFORE DELETE ON zero_earnings BEGIN SELECT RAISE(ABORT, 'zero_earnings is append-only'); END;
CREATE TRIGGER key_spends_no_UPDATE BEFORE UPDATE ON key_spends BEGIN SELECT RAISE(ABORT, 'key_spends is append-only'); END;
CREATE TRIGGER key_spends_no_DELETE BEFORE DELETE ON key_spends BEGIN SELECT RAISE(ABORT, 'key_spends is append-only'); END;
CREATE TRIGGER requests_no_UPDATE BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'requests is append-only'); END;
CREATE TRIGGER requests_no_DELETE BEFORE DELETE ON requests BEGIN SELECT RAISE(ABORT, 'requests is append-only'); END;
CREATE TRIGGER receipts_no_UPDATE BEFORE UPDATE ON receipts BEGIN SELECT RAISE(ABORT, 'receipts is append-only'); END;
CREATE TRIGGER receipts_no_DELETE BEFORE DELETE ON receipts BEGIN SELECT RAISE(ABORT, 'receipts is append-only'); END;
CREATE TRIGGER tiles_no_UPDATE BEFORE UPDATE ON tiles BEGIN SELECT RAISE(ABORT, 'tiles is append-only'); END;
CREATE TRIGGER tiles_no_DELETE BEFORE DELETE ON tiles BEGIN SELECT RAISE(ABORT, 'tiles is append-only'); END;
CREATE TRIGGER checkpoints_no_UPDATE BEFORE UPDATE ON checkpoints BEGIN SELECT RAISE(ABORT, 'checkpoints is append-only'); END;
CREATE TRIGGER checkpoints_no_DELETE BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(ABORT, 'checkpoints is append-only'); END;
CREATE TRIGGER jobs_no_UPDATE BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'jobs is append-only'); END;
CREATE TRIGGER jobs_no_DELETE BEFORE DELETE ON jobs BEGIN SELECT RAISE(ABORT, 'jobs is append-only'); END;
CREATE TRIGGER job_items_no_UPDATE BEFORE UPDATE ON job_items BEGIN SELECT RAISE(ABORT, 'job_items is append-only'); END;
CREATE TRIGGER job_items_no_DELETE BEFORE DELETE ON job_items BEGIN SELECT RAISE(ABORT, 'job_items is append-only'); END;
CREATE TRIGGER job_edges_no_UPDATE BEFORE UPDATE ON job_edges BEGIN SELECT RAISE(ABORT, 'job_edges is append-only'); END;
CREATE TRIGGER job_edges_no_DELETE BEFORE DELETE ON job_edges BEGIN SELECT RAISE(ABORT, 'job_edges is append-only'); END;
CREATE TRIGGER results_no_UPDATE BEFORE UPDATE ON results BEGIN SELECT RAISE(ABORT, 'results is append-only'); END;
CREATE TRIGGER results_no_DELETE BEFORE DELETE ON results BEGIN SELECT RAISE(ABORT, 'results is append-only'); END;
CREATE TRIGGER failures_no_UPDATE BEFORE UPDATE ON failures BEGIN SELECT RAISE(ABORT, 'failures is append-only'); END;
CREATE TRIGGER failures_no_DELETE BEFORE DELETE ON failures BEGIN SELECT RAISE(ABORT, 'failures is append-only'); END;
CREATE TRIGGER usage_no_UPDATE BEFORE UPDATE ON usage BEGIN SELECT RAISE(ABORT, 'usage is append-only'); END;
CREATE TRIGGER usage_no_DELETE BEFORE DELETE ON usage BEGIN SELECT RAISE(ABORT, 'usage is append-only'); END;
CREATE TRIGGER job_events_no_UPDATE BEFORE UPDATE ON job_events BEGIN SELECT RAISE(ABORT, 'job_events is append-only'); END;
CREATE TRIGGER job_events_no_DELETE BEFORE DELETE ON job_events BEGIN SELECT RAISE(ABORT, 'job_events is append-only'); END;
CREATE TRIGGER projects_no_UPDATE BEFORE UPDATE ON projects BEGIN SELECT RAISE(ABORT, 'projects is append-only'); END;
CREATE TRIGGER projects_no_DELETE BEFORE DELETE ON projects BEGIN SELECT RAISE(ABORT, 'projects is append-only'); END;
CREATE TRIGGER revisions_no_UPDATE BEFORE UPDATE ON revisions BEGIN SELECT RAISE(ABORT, 'revisions is append-only'); END;
CREATE TRIGGER revisions_no_DELETE BEFORE DELETE ON revisions BEGIN SELECT RAISE(ABORT, 'revisions is append-only'); END;
CREATE TRIGGER feedback_no_UPDATE BEFORE UPDATE ON feedback BEGIN SELECT RAISE(ABORT, 'feedback is append-only'); END;
CREATE TRIGGER feedback_no_DELETE BEFORE DELETE ON feedback BEGIN SELECT RAISE(ABORT, 'feedback is append-only'); END;
CREATE TRIGGER webhooks_no_UPDATE BEFORE UPDATE ON webhooks BEGIN SELECT RAISE(ABORT, 'webhooks is append-only'); END;
CREATE TRIGGER webhooks_no_DELETE BEFORE DELETE ON webhooks BEGIN SELECT RAISE(ABORT, 'webhooks is append-only'); END;
CREATE TRIGGER webhook_secrets_no_UPDATE BEFORE UPDATE ON webhook_secrets BEGIN SELECT RAISE(ABORT, 'webhook_secrets is append-only'); END;
CREATE TRIGGER webhook_secrets_no_DELETE BEFORE DELETE ON webhook_secrets BEGIN SELECT RAISE(ABORT, 'webhook_secrets is append-only'); END;
CREATE TRIGGER artifacts_no_UPDATE BEFORE UPDATE ON artifacts BEGIN SELECT RAISE(ABORT, 'artifacts is append-only'); END;
CREATE TRIGGER artifacts_no_DELETE BEFORE DELETE ON artifacts BEGIN SELECT RAISE(ABORT, 'artifacts is append-only'); END;
CREATE TRIGGER skipped_files_no_UPDATE BEFORE UPDATE ON skipped_files BEGIN SELECT RAISE(ABORT, 'skipped_files is append-only'); END;
CREATE TRIGGER skipped_files_no_DELETE BEFORE DELETE ON skipped_files BEGIN SELECT RAISE(ABORT, 'skipped_files is append-only'); END;
CREATE TRIGGER quotes_no_UPDATE BEFORE UPDATE ON quotes BEGIN SELECT RAISE(ABORT, 'quotes is append-only'); END;
CREATE TRIGGER quotes_no_DELETE BEFORE DELETE ON quotes BEGIN SELECT RAISE(ABORT, 'quotes is append-only'); END;
CREATE TRIGGER payments_no_UPDATE BEFORE UPDATE ON payments BEGIN SELECT RAISE(ABORT, 'payments is append-only'); END;
CREATE TRIGGER payments_no_DELETE BEFORE DELETE ON payments BEGIN SELECT RAISE(ABORT, 'payments is append-only'); END;
COMMIT;
