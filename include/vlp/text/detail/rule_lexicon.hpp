/// \file
/// The words that RuleTagger knows, with the readings each may have.
#pragma once

#include <vlp/text/detail/unicode.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::text::detail::rules {

/// Sets of readings, as bits. A word with several is decided by its neighbours.
using Readings = std::uint16_t;
inline constexpr Readings noun = 1, adjective = 2, verb = 4, other = 8;
/// What a word does to its neighbours.
inline constexpr Readings determiner = 16, preposition = 32, auxiliary = 64, before_verb = 128;
inline constexpr Readings any_class = noun | adjective | verb | other;

/// Lists of words, separated by white space, and what they may be.
inline constexpr std::pair<Readings, std::string_view> rule_word_lists[] = {
    {other | determiner,
     R"(a an the this that these those no any some each every all both either neither another his her its
      their your our my such)"},
    {other | preposition,
     R"(of in on at by for from with within without into onto over under above below between among through
      throughout during after before since until till against about across along around behind beneath
      beside beyond despite except inside near off outside per than toward towards upon via versus vs as
      because if while although though whether unlike like underneath amid alongside given)"},
    {other,
     R"(and or but nor so yet not n't 's ' there here i he she it we you they him them me us who whom whose
      which what when where why how one two three four five six seven eight nine ten eleven twelve also
      again however otherwise somewhat very too quite rather more most less least well only just even
      still already almost perhaps maybe never always often sometimes now then thus therefore once twice
      further furthermore elsewhere together apart away back down up out instead ago today yesterday
      overall indeed particularly especially bilaterally likely unlikely possibly probably e.g i.e etc eg
      ie x approx approximately far ever hence meanwhile nevertheless nonetheless thereof thereafter
      herein therein else anteriorly posteriorly)"},
    {other | before_verb, R"(to will would can could may might must shall should cannot 'll 'd)"},
    {verb | auxiliary,
     R"(is are was were be been being am 're 'm remain remains remained appear appears appeared seem seems
      seemed become becomes became)"},
    {verb | auxiliary, R"(has have had having 've)"},
    {verb,
     R"(do does did done seen shown taken made found known gone got let recommend recommends suggest
      suggests represent represents reflect reflects demonstrate demonstrates reveal reveals indicate
      indicates include includes exclude excludes evaluate correlate consider considered compare noted
      identified visualise visualize overlies overlie project projects terminate terminates obtain
      obtained please confirm consist consists identify assess ensure clarify correspond corresponds
      persist persists exist exists occur occurs lie lies need needs develop develops contain contains
      produce produces involve involves require requires improve improves tell see call calls make makes
      take takes give gives get gets go goes come comes know knows think thinks want wants keep keeps
      provide provides describe describes allow allows cause causes read reads interpreted performed
      discussed reported recommended suspected demonstrated visualised suggested received notified
      reviewed obscure obscures suggesting using including showing demonstrating representing reflecting
      indicating containing determine detect find say says said believe feel set accentuates extends
      extend crosses abut abuts courses)"},
    {noun | verb,
     R"(change changes study studies increase increases decrease decreases show shows view views measure
      measures mark marks scan scans shift shifts limit limits follow follows support supports result
      results report reports use uses image images test tests finding display displays note notes concern
      concerns place places position positions rise rises exam state states cough coughs tip tips level
      levels question questions contour contours record records start starts turn turns look looks point
      points work works form forms help helps plan plans drain drains pain cross trap traps treat return
      returns repeat)"},
    {adjective,
     R"(acute chronic subacute normal abnormal stable unstable clear unclear large larger largest small
      smaller smallest mild milder moderate severe big great greater greatest minor major slight minimal
      maximal maximum minimum upper lower inner outer middle mid deep superficial high higher highest low
      lowest wide wider narrow new newer old older elderly early late later latest recent prior previous
      past present absent current former initial final interim prominent evident apparent visible obvious
      subtle gross diffuse discrete dense denser thin thinner thick thicker soft hard round rounder flat
      sharp blunt blunted smooth coarse rough fine focal multifocal unifocal patchy hazy streaky wispy
      bandlike linear nodular globular tubular granular reticular lobular alveolar vascular cardiac
      pulmonary pleural hilar perihilar parahilar suprahilar infrahilar mediastinal paramediastinal bony
      osseous skeletal muscular thoracic cervical lumbar sacral spinal costal costophrenic cardiophrenic
      diaphragmatic subdiaphragmatic retrocardiac retrosternal aortic atrial ventricular tracheal
      paratracheal bronchial peribronchial subcarinal apical biapical basal basilar bibasilar bibasal
      lateral medial central peripheral anterior posterior superior inferior proximal distal ventral
      dorsal frontal sagittal coronal axial oblique transverse bilateral unilateral contralateral
      ipsilateral right-sided left-sided symmetric asymmetric symmetrical asymmetrical regular irregular
      ill-defined well-defined calcified uncalcified noncalcified unremarkable remarkable unchanged intact
      free clean negative positive benign malignant suspicious indeterminate nonspecific specific definite
      indefinite possible impossible probable questionable certain uncertain equivocal consistent
      inconsistent compatible concordant discordant available unavailable due additional other same
      different similar dissimilar single multiple several many few numerous solitary scattered confluent
      degenerative hypertrophic atrophic arthritic osteoarthritic sclerotic lytic blastic osteopenic
      osteoporotic scoliotic kyphotic ectatic tortuous aneurysmal atherosclerotic arteriosclerotic
      emphysematous fibrotic fibrous cystic cavitary necrotic granulomatous infectious inflammatory
      infiltrative interstitial atelectatic subsegmental segmental lobar lobulated spiculated
      postoperative preoperative intraoperative postsurgical surgical postprocedural traumatic
      posttraumatic congenital idiopathic iatrogenic metastatic neoplastic cardiopulmonary
      cardiomediastinal cardiothoracic intrathoracic extrathoracic intraabdominal subcutaneous cutaneous
      gastric hepatic renal splenic biliary esophageal abdominal pelvic cranial caudal facial nasal oral
      venous arterial coronary carotid jugular subclavian brachiocephalic humeral clavicular scapular
      sternal vertebral paraspinal intervertebral diagnostic radiographic radiologic clinical technical
      limited overt frank full empty open closed adequate inadequate suboptimal optimal poor good better
      best bad worse worst satisfactory appropriate portable supine upright erect prone semi-upright
      ambulatory senile senescent residual remote persistent recurrent intermittent continuous progressive
      transient typical atypical characteristic classic common uncommon rare frequent interval first
      second third fourth fifth sixth seventh eighth ninth tenth last next own able unable hyperinflated
      hypoinflated underinflated hyperexpanded hypoexpanded hyperlucent radiopaque opaque radiolucent
      lucent bulky broad long longer short shorter tall top bottom total partial complete incomplete
      entire whole half healthy sick ill dead alive male female young younger adult pediatric human
      important main primary secondary tertiary extensive florid marginal borderline symptomatic
      asymptomatic febrile afebrile tuberculous hiatal dual dual-lead triple double midline
      retroperitoneal intraperitoneal extrapleural endotracheal nasogastric enteric left-to-right
      worrisome pronounced marked enlarged distended dilated widened elevated displaced sized lingular
      inhomogeneous homogeneous heterogeneous crowded underlying overlying ongoing remaining healed
      unfolded azygous pericardial epicardial myocardial endocardial mitral valvular bullous cavitating
      loculated free-flowing trace tiny huge massive gentle fair black white grey gray)"},
    {noun | adjective,
     R"(left right light dark base patient cold anterior-posterior individual original midlung pa ap
      chemical animal periphery outline)"},
    {adjective | noun, R"(potential standard square solid)"},
    {noun,
     R"(disease edema effusion effusions pneumothorax pneumothoraces consolidation opacity opacities
      infiltrate infiltrates atelectasis findings marking markings scarring thickening widening blunting
      crowding flattening wedging spurring bridging swelling imaging bleeding staining tenting cuffing
      bulging coughing wheezing opening breathing building spring ring string lining evening morning thing
      things nothing anything something everything filling reading setting rounding aging lobe lobes spine
      sternum hilum hila area areas apex apices artery arteries hospital signal material mineral approval
      rental canal appendical trial manual portal arrival journal capital professional scar bar collar
      pillar molar ulcer air chair hair pair year calendar summary library boundary anniversary diary
      infirmary secretary january february family anomaly assembly belly july supply reply ally fly
      cardiomegaly hepatomegaly splenomegaly organomegaly stent stents agent agents patients accident
      event events component components segment segments content contents extent client student parent
      parents president plant plants infant infants implant implants consultant fragment fragments
      increment attachment replacement compartment department treatment enlargement placement assessment
      involvement plaque technique disc disk clinic topic music mechanic fabric traffic logic public x-ray
      x-rays radiograph radiographs chest thorax heart lung lungs rib ribs bone bones tissue tissues
      vessel vessels silhouette size shape evidence number bowel stomach liver spleen kidney trachea
      esophagus aorta arch knob diaphragm hemidiaphragm hemidiaphragms clavicle humerus shoulder shoulders
      tube tubes line lines catheter pacemaker lead leads wire wires clip clips suture sutures device
      devices nodule nodules mass masses lesion lesions granuloma granulomas node nodes fracture fractures
      deformity spur spurs osteophyte osteophytes process processes axis crisis basis diagnosis prognosis
      metastasis stenosis sclerosis fibrosis kyphosis scoliosis lordosis prosthesis osteoporosis
      tuberculosis sarcoidosis thrombosis necrosis pus virus sinus thymus fetus hiatus radius ductus mucus
      status callus focus foci locus nucleus calculus sulcus sulci meniscus bus time times week weeks
      month months day days hour hours date rate rates estimate climate candidate plate plates precipitate
      exudate transudate condensate aspirate carbohydrate substrate substrates directive motive adjective
      objective perspective detective executive relative relatives archive olive variable table cable
      vegetable syllable example people person man woman men women child children mice mouse gene genes
      cell cells protein proteins dna rna receptor expression analysis data datum bacteria criteria
      phenomena media mm cm kg mg ml pm dr mr mrs ms t b svc ivc picc ett ng ct mri pet cabg copd chf tb
      aicd icd cp ca iv er icu)"},
    {adjective | verb,
     R"(expanded inflated aerated thickened increased decreased degraded healing improving worsening
      resolving developing evolving rotated flattened tortured collapsed fractured compressed deformed
      engorged congested prolonged underpenetrated rounded visualized associated related unknown retained
      existing corresponding limiting intervening surrounding projecting fused separated scarred
      diminished reduced exaggerated accentuated accepted described expected combined mixed isolated
      advanced improved worsened stated mentioned resolved)"},
};

/// Open-addressing table of the lists above, built once.
class RuleLexicon {
 public:
  /// The readings of a lower-case word; 0 for a word not listed.
  [[nodiscard]] Readings find(std::string_view word) const { return table_[slot(word)].readings; }

  [[nodiscard]] static const RuleLexicon& instance() {
    static const RuleLexicon lexicon;
    return lexicon;
  }

 private:
  struct Entry {
    std::string_view word;
    Readings readings = 0;
  };
  static constexpr std::size_t slots = 1u << 12;

  RuleLexicon() : table_(slots) {
    for (const auto& [readings, list] : rule_word_lists) {
      for (std::size_t at = 0; at < list.size();) {
        if (is_ascii_space(list[at])) {
          ++at;
          continue;
        }
        std::size_t end = at;
        while (end < list.size() && !is_ascii_space(list[end])) ++end;
        const std::string_view word = list.substr(at, end - at);
        Entry& entry = table_[slot(word)];
        if (entry.word.empty()) entry = {word, readings};  // where lists overlap, the first one decides
        at = end;
      }
    }
  }

  [[nodiscard]] std::size_t slot(std::string_view word) const {
    std::uint32_t hash = 2166136261u;  // FNV-1a
    for (char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    std::size_t at = (hash ^ (hash >> 15)) & (slots - 1);
    while (!table_[at].word.empty() && table_[at].word != word) at = (at + 1) & (slots - 1);
    return at;
  }

  std::vector<Entry> table_;
};

}  // namespace vlp::text::detail::rules
